// A neighbourhood's boards, for tests and pictures.

const en = [
  ["Neighbourhood association", "Fire drill on 5 December, ten o’clock, in the park. Please come in shoes you can run in.", 3100],
  ["Ann", "The library van stops at the shrine every second Thursday now, from two to four.", 1700],
  ["Yamada", "三丁目で迷子の猫を見かけました。白黒で、首輪は赤です。A cat, black and white.", 1500],
  ["مريم", "شكراً لكم جميعاً على المساعدة في البحث عن القطة، نحن سعداء جداً بعودتها إلى البيت.", 90],
  ["", "Rubbish collection over New Year, by district: https://www.city.example.jp/kurashi/gomi/shushubi/2026/nenmatsu-nenshi-no-gomi-shushu-calendar-chiku-betsu-ichiran.html?area=sanchome&print=1", 41],
  ["Tanaka", "Street cleaning moves to Sunday at nine: rain until eight.\nGloves and bags are in the shed, tea afterwards at number 12.", 22],
  ["Sato", "Found the cat! It was asleep in the bakery. ありがとう、みなさん。", 4],
];
const ja = [
  ["町内会", "12月5日（土）午前10時から公園で防災訓練を行います。動きやすい靴でお越しください。", 3100],
  ["アン", "移動図書館は、隔週木曜の午後2時から4時まで、神社の前に来るようになりました。", 1700],
  ["山田", "三丁目で迷子の猫を見かけました。白黒で、首輪は赤です。心当たりのある方は12番地までご連絡ください。", 1500],
  ["مريم", "شكراً لكم جميعاً على المساعدة في البحث عن القطة، نحن سعداء جداً بعودتها إلى البيت.", 90],
  ["", "年末年始のごみ収集日はこちらです。https://www.city.example.jp/kurashi/gomi/shushubi/2026/nenmatsu-nenshi-no-gomi-shushu-calendar-chiku-betsu-ichiran.html?area=sanchome&print=1", 41],
  ["田中", "日曜の清掃は九時からに変わりました。八時まで雨の予報です。\n軍手とごみ袋は物置にあります。終わったら12番地でお茶をどうぞ。", 22],
  ["佐藤", "見つかりました！パン屋さんの店先で寝ていました。みなさん、ありがとうございました。", 4],
];
const quote = (text) => `'${text.replaceAll("'", "''")}'`;
const insert = (board, [author, comment, minutes]) =>
  `INSERT INTO topics (board_id, author, comment, created_at) SELECT id, ${quote(author)}, ${quote(comment)}, strftime('%Y-%m-%d %H:%M:%f', 'now', '-${minutes} minutes') FROM boards WHERE name = ${quote(board)};`;

/** Fills the boards of a node. @param {import("./node.js").Node} node @param {(comment: string) => string} changed what becomes of each comment */
export async function neighbourhood(node, language = "en", changed = (comment) => comment) {
  const isEnglish = language === "en";
  const boards = [
    ["cleaning", isEnglish ? "Cleaning rota" : "清掃当番", "open"],
    ["empty", isEnglish ? "Give and take" : "ゆずります・ください", "open"],
    ["fair", isEnglish ? "Summer fair" : "夏まつり実行委員会", "closed"],
  ];
  const topics = (isEnglish ? en : ja).map(([author, comment, minutes]) => [author, changed(comment), minutes]);
  const old = Array.from({ length: 8 }, (_, n) => ["", `${n + 1}. ${isEnglish ? "An older notice" : "以前のお知らせ"}`, 9000 - n]);
  const script = [
    `UPDATE boards SET title = ${quote(isEnglish ? "3-chome noticeboard" : "三丁目の掲示板")} WHERE name = 'main';`,
    ...boards.map(([name, title, post]) => `INSERT INTO boards (name, title, post) VALUES (${quote(name)}, ${quote(title)}, ${quote(post)});`),
    ...[...old, ...topics].map((topic) => insert("main", topic)),
    insert("cleaning", topics[5]),
    insert("fair", topics[0]),
  ];
  await node.sql(`BEGIN; ${script.join("\n")} COMMIT;`);
  await node.sql(`UPDATE topics SET comment = comment || ' ' WHERE author IN ('Tanaka', '田中');`);
}
