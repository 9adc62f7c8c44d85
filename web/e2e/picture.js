// Takes the README's picture: npm run picture

import { Node, startChromium } from "./node.js";

const node = await Node.start();
const chromium = await startChromium();
try {
  const post = (comment, author) =>
    fetch(`${node.url}/api/v1/boards/main/topics`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ comment, author }),
    });
  await post("Street cleaning is on Sunday at eight.\nGloves are in the shed.", "Hanako");
  await post("三丁目で迷子の猫を見かけました。白黒で、首輪は赤です。", "佐藤");
  await post("Found it, it was asleep in the bakery. ありがとう!", "Ann");
  const pictures = [
    ["light", { width: 760, height: 640 }],
    ["dark", { width: 380, height: 640 }],
  ];
  for (const [colorScheme, viewport] of pictures) {
    const context = await chromium.newContext({ colorScheme, viewport, locale: colorScheme === "dark" ? "ja-JP" : "en-GB", timezoneId: "Asia/Tokyo" });
    const page = await context.newPage();
    await page.goto(node.url);
    await page.waitForSelector('#state[data-state="live"]');
    await page.screenshot({ path: `../../docs/pictures/board-${colorScheme}.png` });
  }
} finally {
  await chromium.close();
  await node.end();
}
