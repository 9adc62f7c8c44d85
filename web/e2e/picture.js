// Takes the README's pictures: npm run picture

import { Node, startChromium } from "./node.js";
import { neighbourhood } from "./neighbourhood.js";
import { openTab, ready } from "./tab.js";

/** Each file, with the language, the colours and the size of the window. */
const PICTURES = {
  light: ["en-GB", "light", { width: 1280, height: 800 }],
  dark: ["ja-JP", "dark", { width: 1280, height: 800 }],
  phone: ["en-GB", "light", { width: 390, height: 800 }],
};
/** What came on the other boards since the reader was there. */
const NEWS = {
  "en-GB": [["cleaning", "Ken", "I can take the hedge on Saturday."], ["cleaning", "Sato", "And I the drains."], ["empty", "Ann", "A pram, as good as new, to give away."]],
  "ja-JP": [["cleaning", "健", "土曜は生け垣をやります。"], ["cleaning", "佐藤", "側溝は私が。"], ["empty", "アン", "ベビーカーをおゆずりします。新品同様です。"]],
};

/** The long address in the neighbourhood is for tests of how it breaks. */
const SHORT = (text) => text.replace(/\/kurashi\S+/, "/gomi");

const chromium = await startChromium();
try {
  for (const [name, [locale, colorScheme, viewport]] of Object.entries(PICTURES)) {
    const node = await Node.start({ BOARD__TIME_ZONE: "Asia/Tokyo", BOARD__TOPICS_MAX: "15" });
    await neighbourhood(node, locale.slice(0, 2), SHORT);
    const isPhone = viewport.width < 700;
    const context = await chromium.newContext({ colorScheme, viewport, locale, reducedMotion: "reduce", hasTouch: isPhone, isMobile: isPhone });
    for (const board of ["cleaning", "empty"]) {
      await node.post(locale === "en-GB" ? "Welcome." : "ようこそ。", `b/${board}`);
      const visit = await openTab(context, `${node.url}/b/${board}`);
      await ready(visit);
      await visit.close();
    }
    // One has been here before the newest topic came.
    if (!isPhone) await context.addInitScript(() => localStorage.setItem("kairanban:seen:main", "14"));
    const admin = await node.createToken("admin", "picture");
    for (const [board, author, comment] of NEWS[locale]) await node.api(admin, "POST", `boards/${board}/topics`, { author, comment });
    const page = await openTab(context, node.url);
    await ready(page);
    await page.locator("#boards .count").nth(1).waitFor({ state: "attached" });
    await page.screenshot({ path: `../../docs/pictures/board-${name}.png` });
    await node.end();
  }
} finally {
  await chromium.close();
}
