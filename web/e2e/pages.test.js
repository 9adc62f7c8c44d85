// All pages in a real browser: what they offer without script, what assistive technology makes of them, how they fit.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { Node, startChromium } from "./node.js";
import { neighbourhood } from "./neighbourhood.js";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** @type {import("playwright-core").Browser} */
let chromium;
/** @type {Node} */
let node;
before(async () => {
  [chromium, node] = await Promise.all([startChromium(), Node.start({ BOARD__TIME_ZONE: "Asia/Tokyo", BOARD__TOPICS_MAX: "12" })]);
  await neighbourhood(node);
});
after(async () => {
  await chromium.close();
  await node.end();
});

/** Every page, each with what makes it ready to be looked at. */
const PAGES = {
  board: ["/", '#state[data-state="live"]'],
  closed: ["/b/fair", '#state[data-state="live"]'],
  empty: ["/b/empty", '#state[data-state="live"]'],
  wall: ["/?view=wall", '#state[data-state="live"]'],
  index: ["/boards", ".slips"],
  older: ["/b/main/topics", ".topic"],
  end: ["/b/main/topics?before=1", ".blank"],
  search: ["/b/main/topics?q=e", "mark"],
  "not found": ["/b/main/topics?q=zebra", ".blank"],
  single: ["/b/main/topics/1", ".topic"],
  qr: ["/b/main/qr", ".qr"],
  error: ["/b/nothing", ".stamp"],
  login: ["/login?next=%2Fboards", ".login"],
};

/** @param {import("playwright-core").BrowserContextOptions} options @param {string} name */
async function open(options, name) {
  const context = await chromium.newContext(options);
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => /Content Security Policy/.test(message.text()) && page.complaints.push(message.text()));
  const [path, ready] = PAGES[name];
  await page.goto(node.url + path);
  if (options.javaScriptEnabled !== false) await page.waitForSelector(ready, { state: "attached" });
  return page;
}

for (const locale of ["en-GB", "ja-JP"]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`axe finds nothing on any page, in ${locale}, ${colorScheme}`, async () => {
      for (const name of Object.keys(PAGES)) {
        const page = await open({ locale, colorScheme, bypassCSP: true, reducedMotion: "reduce" }, name);
        await page.evaluate(axe);
        for (const width of [390, 1280]) {
          await page.setViewportSize({ width, height: 900 });
          const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
          const violations = found.violations.map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`);
          assert.deepEqual(violations, [], `${name} at ${width}`);
        }
        await page.context().close();
      }
    });
  }
}

test("no page scrolls sideways, whatever its width, nor moves what stands there", async () => {
  for (const locale of ["en-GB", "ja-JP"]) {
    for (const name of Object.keys(PAGES)) {
      const page = await open({ locale, viewport: { width: 390, height: 800 } }, name);
      const shift = await page.evaluate(
        () =>
          new Promise((resolve) => {
            let sum = 0;
            new PerformanceObserver((all) => all.getEntries().forEach((entry) => (sum += entry.value))).observe({ type: "layout-shift", buffered: true });
            requestAnimationFrame(() => requestAnimationFrame(() => resolve(sum)));
          }),
      );
      assert.ok(shift < 0.01, `${name} in ${locale} shifts by ${shift}`);
      for (const width of [320, 390, 768, 769, 1120, 1440]) {
        await page.setViewportSize({ width, height: 800 });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${name} in ${locale} at ${width} is ${wide} px too wide`);
      }
      assert.deepEqual(page.complaints, []);
      await page.context().close();
    }
  }
});

test("all of it works without script: around, search, older topics, language and theme", async () => {
  const page = await open({ javaScriptEnabled: false, locale: "en-GB", viewport: { width: 1280, height: 900 }, colorScheme: "light" }, "board");
  const heading = () => page.locator("h1").innerText();
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(await heading(), "3-chome noticeboard");
  assert.deepEqual(await page.locator("#boards .name").allInnerTexts(), ["Cleaning rota", "Give and take", "Summer fair", "3-chome noticeboard"]);
  assert.equal(await page.locator("noscript > .state").isVisible(), true);
  assert.equal(await page.locator("#state").isVisible(), false);
  await page.getByRole("link", { name: "Older topics" }).click();
  await page.waitForURL(/before=/);
  assert.equal(await heading(), "Older topics");
  await page.getByRole("searchbox", { name: "Search this board" }).fill("CAT");
  await page.keyboard.press("Enter");
  await page.waitForURL(/q=CAT/);
  assert.deepEqual([...new Set((await page.locator("mark").allInnerTexts()).map((text) => text.toLowerCase()))], ["cat"]);
  await page.locator(".when").first().click();
  await page.waitForURL(/\/b\/main\/topics\/\d+$/);
  await page.getByRole("link", { name: "日本語" }).first().click();
  await page.waitForURL(/lang=ja/);
  assert.equal(await page.getAttribute("html", "lang"), "ja");
  const light = await ground();
  for (const theme of ["light", "dark"]) {
    await page.locator(".bar .theme button").click();
    await page.waitForURL(`**?theme=${theme}`);
  }
  assert.equal(await page.getAttribute("html", "data-theme"), "dark");
  assert.notEqual(await ground(), light);
  await page.goto(`${node.url}/boards`);
  assert.equal(await heading(), "掲示板", "the language is kept");
  assert.equal(await ground() === light, false, "and so is the theme");
  await page.getByRole("link", { name: "Cleaning rota" }).click();
  await page.waitForURL(/\/b\/cleaning$/);
  assert.equal(await heading(), "Cleaning rota");
});

test("on a phone the boards are in a drawer that opens without script", async () => {
  const page = await open({ javaScriptEnabled: false, viewport: { width: 390, height: 800 }, locale: "en-GB" }, "board");
  assert.equal(await page.locator("#boards").isVisible(), false);
  await page.getByRole("button", { name: /open the list of boards/ }).click();
  await page.getByRole("link", { name: "Cleaning rota" }).click();
  await page.waitForURL(/\/b\/cleaning$/);
  assert.equal(await page.locator("h1").textContent(), "Cleaning rota");
});

test("what arrives live looks like what the server renders, also at its place among the days", async () => {
  const page = await open({ locale: "ja-JP", viewport: { width: 1280, height: 900 } }, "empty");
  // The order of attributes, space between elements, and what only the script adds do not count.
  const look = () =>
    page.locator("#topics").evaluate((list) => {
      const described = (/** @type {Element} */ element) => {
        const attributes = [...element.attributes].filter(({ name }) => !["title", "data-word"].includes(name));
        const values = attributes.map(({ name, value }) => `${name}=${name === "class" ? value.replace(" new", "") : value}`);
        const text = element.childElementCount > 0 && !element.matches(".comment") ? "" : element.textContent;
        return [`${element.localName} ${values.sort().join(" ")} ${text}`, ...[...element.children].flatMap(described)];
      };
      return [...list.children].flatMap(described);
    });
  const cases = JSON.parse(await readFile("links.json", "utf8"));
  for (const [comment] of cases.slice(0, 11)) await node.post(comment, "b/empty");
  await page.locator(".topic").nth(10).waitFor();
  const live = await look();
  const links = await page.locator(".comment").evaluateAll((all) => all.map((comment) => [comment.textContent, [...comment.querySelectorAll("a")].map((link) => link.textContent)]));
  assert.deepEqual(links, cases.slice(0, 11).reverse());
  await page.reload();
  await page.waitForSelector(PAGES.empty[1]);
  assert.deepEqual(await look(), live);
  await node.sql("DELETE FROM topics WHERE board_id = (SELECT id FROM boards WHERE name = 'empty');");
  await page.waitForSelector("#empty:not([hidden])");
});

test("a first visit takes at most 25 kB, until the page is live", async (context) => {
  const page = await open({ viewport: { width: 1280, height: 900 } }, "index");
  const sizes = [];
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Network.enable");
  devtools.on("Network.loadingFinished", ({ encodedDataLength }) => sizes.push(encodedDataLength));
  const large = await Node.start();
  try {
    const text = "三丁目で迷子の猫を見かけました。The library van stops at the shrine every second Thursday. ";
    const rows = Array.from({ length: 100 }, (_, n) => `(1, 'Neighbour ${n % 7}', '${n}: ${text.slice(n % 20, 40 + n % 50)}')`);
    await large.sql(`INSERT INTO topics (board_id, author, comment) VALUES ${rows.join(", ")};`);
    await page.goto(large.url);
    await page.waitForSelector('#state[data-state="live"]');
    const total = sizes.reduce((sum, size) => sum + size, 0);
    context.diagnostic(`${total} bytes`);
    assert.ok(total < 25_000, `${total} bytes: ${sizes}`);
  } finally {
    await large.end();
  }
});
