// Takes a picture of each page, in each language, scheme and width, into target/pictures: npm run pictures [page…]

import { mkdir } from "node:fs/promises";
import { Node, startChromium } from "./node.js";
import { neighbourhood } from "./neighbourhood.js";

const FOLDER = "../../target/pictures";
const WIDTHS = [320, 390, 768, 1120, 1440];
const live = (page) => page.waitForSelector('#state[data-state="live"]');
/** Each page: its path, and what is done before the picture. */
const PAGES = {
  board: ["/", live],
  plain: ["/"],
  drawer: ["/", async (page) => (await live(page), await page.click(".switch"))],
  focus: ["/", async (page) => (await live(page), await page.focus("#comment"))],
  closed: ["/b/fair", live],
  empty: ["/b/empty", live],
  wall: ["/?view=wall", live],
  boards: ["/boards"],
  all: ["/b/main/topics"],
  end: ["/b/main/topics?before=1"],
  search: ["/b/main/topics?q=cat"],
  nothing: ["/b/main/topics?q=zebra"],
  topic: ["/b/main/topics/14"],
  qr: ["/b/main/qr"],
  error: ["/b/sanchome-old"],
  fault: ["/", async (page) => (await live(page), await page.fill("#comment", " "), await page.click("#post button"), await page.waitForSelector(".fault"))],
};
const wanted = process.argv.slice(2);
await mkdir(FOLDER, { recursive: true });
const chromium = await startChromium();
try {
  for (const language of ["en", "ja"]) {
    const node = await Node.start({ BOARD__TIME_ZONE: "Asia/Tokyo", BOARD__TOPICS_MAX: "12" });
    await neighbourhood(node, language);
    for (const [name, [path, prepare]] of Object.entries(PAGES)) {
      if (wanted.length > 0 && !wanted.includes(name)) continue;
      for (const colorScheme of ["light", "dark"]) {
        for (const width of WIDTHS) {
          if (name === "drawer" && width > 768) continue;
          const context = await chromium.newContext({
            colorScheme,
            viewport: { width, height: width < 700 ? 844 : 900 },
            locale: language === "ja" ? "ja-JP" : "en-GB",
            javaScriptEnabled: name !== "plain",
            hasTouch: width < 700,
            isMobile: width < 700,
            reducedMotion: "reduce",
          });
          const page = await context.newPage();
          // The style as it stands in the checkout: no need to build the program for each look.
          await page.route("**/assets/board.css", (route) => route.fulfill({ path: "../app/board.css" }));
          await page.goto(node.url + path);
          await prepare?.(page);
          await page.screenshot({ path: `${FOLDER}/${name}-${width}-${colorScheme}-${language}.png`, fullPage: name !== "drawer" });
          await context.close();
        }
      }
    }
    await node.end();
  }
} finally {
  await chromium.close();
}
