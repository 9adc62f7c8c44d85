// <kairanban-board> as a page embeds it: on the board's own site, and on another.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Node, startChromium } from "./node.js";
import { Relay } from "./relay.js";

// Another origin than the relay's address, which leads to the same place.
const OTHER = "board.test";

/** @type {import("playwright-core").Browser} */
let chromium;
before(async () => (chromium = await startChromium([`--host-resolver-rules=MAP ${OTHER} 127.0.0.1`])));
after(() => chromium.close());

/** Opens a page with this markup, on the relay's own origin or on another. */
async function withElement(markup, story, { host = "127.0.0.1", shared = true } = {}) {
  const relay = await Relay.start();
  const origin = `http://${OTHER}:${relay.port}`;
  const node = (relay.node = await Node.start({ SERVER__HOSTS: OTHER, ...(shared ? { CORS__ORIGINS: origin } : {}) }));
  const page = await chromium.newPage();
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  try {
    relay.page = `<!doctype html><html lang="en"><meta charset="utf-8">
      <script type="module" src="${relay.url}/dist/element.js"></script>${markup}`;
    await page.goto(`http://${host}:${relay.port}/embedding`);
    await story({ node, relay, page });
    assert.deepEqual(page.faults, []);
  } finally {
    await page.close();
    relay.end();
    await node.end();
  }
}

const texts = (page) => page.locator("kairanban-board [part=text]").allTextContents();
const isLive = (page) => page.locator('kairanban-board [part=state][data-state="live"]').waitFor();
const shows = (page, text) => page.locator("kairanban-board [part=text]", { hasText: text }).waitFor();

test("one tag shows a board live, the newest first, and posts", () =>
  withElement('<kairanban-board board="main"></kairanban-board>', async ({ node, page }) => {
    await isLive(page);
    assert.equal(await page.locator("kairanban-board").getByText("Nothing has been posted yet.").isVisible(), true);
    await node.post("first");
    await shows(page, "first");
    await page.locator("kairanban-board textarea").fill("second");
    await page.locator("kairanban-board input").fill("Sato");
    await page.locator("kairanban-board textarea").press("Control+Enter");
    await page.locator("kairanban-board time").nth(1).waitFor();
    assert.deepEqual(await texts(page), ["second", "first"]);
    assert.equal(await page.locator("kairanban-board [part=author]").first().textContent(), "Sato");
    assert.equal(await page.locator("kairanban-board textarea").inputValue(), "");
  }));

test("Enter that ends a composition does not post", () =>
  withElement("<kairanban-board></kairanban-board>", async ({ page }) => {
    await isLive(page);
    await page.locator("kairanban-board textarea").fill("かいらんばん");
    await page.evaluate(() => {
      const field = document.querySelector("kairanban-board").shadowRoot.querySelector("textarea");
      const press = (more) => field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", ctrlKey: true, cancelable: true, ...more }));
      press({ isComposing: true });
      press({ keyCode: 229 });
    });
    assert.equal(await page.locator("kairanban-board textarea").inputValue(), "かいらんばん");
  }));

test("what the server refuses is said in its own words, and can be taken back", () =>
  withElement("<kairanban-board></kairanban-board>", async ({ page }) => {
    await isLive(page);
    await page.locator("kairanban-board textarea").fill("  ");
    await page.locator("kairanban-board form button").click();
    const fault = page.locator("kairanban-board li [role=alert]");
    await fault.waitFor();
    assert.match((await fault.textContent()) ?? "", /^comment must not be empty/);
    await fault.getByText("Discard").click();
    await fault.waitFor({ state: "detached" });
  }));

test("text never runs, and a limit leaves out what is older", () =>
  withElement('<kairanban-board limit="2" lang="ja" no-post></kairanban-board>', async ({ node, page }) => {
    await isLive(page);
    const evil = ['<img src=x onerror="alert(1)">', "<script>alert(2)</script>", "javascript:alert(3)"];
    for (const text of evil) await node.post(text);
    await shows(page, evil[2]);
    assert.deepEqual(await texts(page), evil.slice(1).reverse());
    assert.equal(await page.locator("kairanban-board :is(img, script, form)").count(), 0);
    assert.equal(await page.locator("kairanban-board [part=state]").textContent(), "ライブ");
    assert.equal(await page.locator("kairanban-board [part=author]").first().textContent(), "匿名");
  }));

test("a page styles it by properties and parts, and removes it", () =>
  withElement(
    "<style>kairanban-board { --kb-sheet: rgb(1, 2, 3) } kairanban-board::part(text) { color: rgb(4, 5, 6) }</style><kairanban-board></kairanban-board>",
    async ({ node, relay, page }) => {
      await isLive(page);
      await node.post("styled");
      await shows(page, "styled");
      const colours = await page.evaluate(() => {
        const element = document.querySelector("kairanban-board");
        const text = element.shadowRoot.querySelector("[part=text]");
        return [getComputedStyle(element).backgroundColor, getComputedStyle(text).color];
      });
      assert.deepEqual(colours, ["rgb(1, 2, 3)", "rgb(4, 5, 6)"]);
      const closed = new Promise((resolve) => [...relay.streams][0].response.on("close", resolve));
      await page.evaluate(() => document.querySelector("kairanban-board").remove());
      await closed;
    },
  ));

test("a site that the server names embeds it, and posts", () =>
  withElement(
    "<kairanban-board></kairanban-board>",
    async ({ node, page }) => {
      await isLive(page);
      await node.post("from the board");
      await shows(page, "from the board");
      await page.locator("kairanban-board textarea").fill("from another site");
      await page.locator("kairanban-board form button").click();
      await page.locator("kairanban-board time").nth(1).waitFor();
      assert.deepEqual(await texts(page), ["from another site", "from the board"]);
    },
    { host: OTHER },
  ));

test("a board that does not exist says so, in the server's words", () =>
  withElement('<kairanban-board board="nowhere"></kairanban-board>', async ({ page }) => {
    await page.locator('kairanban-board [part=state][data-state="ended"]').waitFor();
    assert.equal(await page.locator("kairanban-board [part=state]").textContent(), "no board is named nowhere");
    assert.equal(await page.locator("kairanban-board form").isVisible(), false);
  }));
