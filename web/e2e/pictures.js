// Takes a picture of each page, in each language, scheme and width, into target/pictures: npm run pictures [page…]

import { mkdir } from "node:fs/promises";
import { Node, startChromium } from "./node.js";
import { neighbourhood } from "./neighbourhood.js";
import { STATES } from "./states.js";
import { isAt, openTab, ready } from "./tab.js";

const FOLDER = "../../target/pictures";
const WIDTHS = [320, 390, 768, 1280, 1440];
const live = (page) => isAt(page, "live");
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
  fault: ["/", async (page) => (await ready(page), await page.fill("#comment", " "), await page.click("#post button"), await page.waitForSelector("#comment-fault:not(:empty)"))],
};
/** States change what a node holds: each has a node of its own. */
for (const [name, prepare] of Object.entries(STATES)) PAGES[name] = ["/", async (page, node) => (await ready(page), await prepare({ page, node, context: page.context() }))];
const wanted = process.argv.slice(2);
/** @type {Node | undefined} */
let shared;
async function nodeFor(name, language) {
  if (shared && !(name in STATES)) return shared;
  const node = await Node.start({ BOARD__TIME_ZONE: "Asia/Tokyo", BOARD__TOPICS_MAX: "12" });
  await neighbourhood(node, language);
  if (!(name in STATES)) shared = node;
  return node;
}
await mkdir(FOLDER, { recursive: true });
const chromium = await startChromium();
try {
  for (const language of ["en", "ja"]) {
    for (const [name, [path, prepare]] of Object.entries(PAGES)) {
      if (wanted.length > 0 && !wanted.includes(name)) continue;
      for (const colorScheme of ["light", "dark"]) {
        for (const width of WIDTHS) {
          if (name === "drawer" && width > 768) continue;
          const node = await nodeFor(name, language);
          const context = await chromium.newContext({
            colorScheme,
            viewport: { width, height: width < 700 ? 844 : 900 },
            locale: language === "ja" ? "ja-JP" : "en-GB",
            javaScriptEnabled: name !== "plain",
            hasTouch: width < 700,
            isMobile: width < 700,
            reducedMotion: "reduce",
          });
          // Style and script as they stand in the checkout: no need to build the program for each look.
          await context.route(/assets\/(board|act)\./, (route) => route.fulfill({ path: `../dist/${route.request().url().split("/").at(-1)}` }));
          const page = await openTab(context, node.url + path);
          await prepare?.(page, node);
          const fullPage = !["drawer", "pill"].includes(name);
          await page.screenshot({ path: `${FOLDER}/${name}-${width}-${colorScheme}-${language}.png`, fullPage });
          await context.close();
          if (name in STATES) await node.end();
        }
      }
    }
    await shared?.end();
    shared = undefined;
  }
} finally {
  await chromium.close();
}
