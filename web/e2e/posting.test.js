// Posting on the board page: shown at once, sent once, and no text is ever lost.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Node, startChromium } from "./node.js";
import { comments, isAt, isPosted, openTab, ready, shows } from "./tab.js";

/** @type {import("playwright-core").Browser} */
let chromium;
before(async () => (chromium = await startChromium()));
after(() => chromium.close());

async function withPage(story, options = {}) {
  const node = await Node.start();
  const context = await chromium.newContext({ locale: "en-GB", viewport: { width: 1280, height: 800 }, ...options });
  try {
    const page = await openTab(context, node.url);
    await ready(page);
    await story(page, node, context);
    assert.deepEqual(page.complaints, []);
  } finally {
    await Promise.all(chromium.contexts().map((context) => context.close()));
    await node.end();
  }
}
const fault = (page) => page.locator("#comment-fault").textContent();
const own = (page) => page.locator("#topics .topic:has(.tag):not([data-state]) .comment").allTextContents();
const waiting = (page) => page.locator("#topics .topic[data-key]");
async function send(page, text) {
  await page.fill("#comment", text);
  await page.keyboard.press("Control+Enter");
}

test("the counter counts as the server does, and what is too long is not sent", () =>
  withPage(async (page) => {
    const said = () => page.locator("#counter").textContent();
    assert.equal(await said(), "0 / 2,000");
    await page.fill("#comment", "  👩🏽‍🌾が\n");
    assert.equal(await said(), "5 / 2,000");
    await page.fill("#comment", "😀".repeat(2_001));
    assert.equal(await said(), "2,001 / 2,000");
    await page.keyboard.press("Control+Enter");
    assert.equal(await fault(page), "At most 2000 characters, please.");
    assert.equal(await page.getAttribute("#comment", "aria-invalid"), "true");
    await page.fill("#comment", "😀".repeat(2_000));
    await page.keyboard.press("Control+Enter");
    await shows(page, "😀".repeat(2_000));
    assert.equal(await fault(page), "");
  }));

test("a draft is kept over a reload, for each board, and the name with it", () =>
  withPage(async (page, node) => {
    await node.sql("INSERT INTO boards (name) VALUES ('fair');");
    await page.fill("#author", "Hanako");
    await send(page, "posted");
    await isPosted(page, "posted");
    await page.fill("#comment", "half a\nsentence");
    await page.reload();
    await page.waitForFunction(() => document.getElementById("comment").value === "half a\nsentence");
    assert.equal(await page.inputValue("#author"), "Hanako");
    await page.goto(`${node.url}/b/fair`);
    await ready(page);
    assert.equal(await page.inputValue("#comment"), "");
    await page.goto(node.url);
    await ready(page);
    await page.keyboard.press("n");
    await page.keyboard.press("Control+Enter");
    await shows(page, "half a");
    await page.reload();
    await ready(page);
    assert.equal(await page.inputValue("#comment"), "");
    assert.deepEqual(await own(page), ["half a\nsentence", "posted"]);
  }));

test("Enter writes a line, Ctrl+Enter posts, and neither does while an input method composes", () =>
  withPage(async (page) => {
    await page.fill("#comment", "かいらん");
    await page.keyboard.press("Enter");
    assert.equal(await page.inputValue("#comment"), "かいらん\n");
    const enter = (field, more) =>
      page.evaluate(
        ([field, more]) => {
          const event = new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...more });
          document.getElementById(field).dispatchEvent(event);
        },
        [field, more],
      );
    await enter("comment", { ctrlKey: true, isComposing: true });
    // Safari says that a composition has ended before the key that ended it.
    await enter("comment", { ctrlKey: true, keyCode: 229 });
    await enter("author", { isComposing: true });
    await page.focus("#author");
    await page.keyboard.press("Enter");
    assert.equal(await page.inputValue("#comment"), "かいらん\n");
    assert.equal(await page.locator("#topics .topic").count(), 0);
    await page.focus("#comment");
    await page.keyboard.press("Control+Enter");
    await shows(page, "かいらん");
    assert.equal(await page.evaluate(() => document.activeElement.id), "comment", "the focus stays");
    assert.equal(await page.inputValue("#comment"), "");
  }));

test("a post is there at once, says that it is being sent, and is not doubled by its echo", () =>
  withPage(async (page, node, context) => {
    let go = () => {};
    await context.route("**/api/v1/boards/main/topics", async (route) => {
      await new Promise((resolve) => (go = resolve));
      await route.continue();
    });
    await send(page, "mine");
    assert.equal(await waiting(page).locator(".why").innerText(), "Sending…");
    await node.post("of another");
    await shows(page, "of another");
    assert.deepEqual(await comments(page), ["mine", "of another"]);
    go();
    await page.locator("#topics .topic:not([data-key])", { hasText: "mine" }).waitFor();
    assert.deepEqual([await comments(page), await own(page)], [["mine", "of another"], ["mine"]]);
  }));

test("what the server refuses goes back to the form, with what is wrong; or stays beside what is written since", () =>
  withPage(async (page, _node, context) => {
    await send(page, "a\u0007b");
    await page.waitForSelector("#comment-fault:not(:empty)");
    assert.equal(await fault(page), "This text contains a control character, an invisible one or a noncharacter that cannot be posted.");
    assert.equal(await page.inputValue("#comment"), "a\u0007b");
    assert.equal(await waiting(page).count(), 0);
    let go = () => {};
    await context.route("**/api/v1/boards/main/topics", async (route) => {
      await new Promise((resolve) => (go = resolve));
      await route.continue();
    });
    await page.keyboard.press("Control+Enter");
    await waiting(page).waitFor();
    await page.keyboard.type("the next");
    go();
    const row = page.locator('.topic[data-state="failed"]');
    await row.waitFor();
    assert.equal(await row.locator(".note").getAttribute("role"), "alert");
    assert.equal(await row.locator(".why").innerText(), "This text contains a control character, an invisible one or a noncharacter that cannot be posted.");
    assert.deepEqual(await row.locator("button:visible").allInnerTexts(), ["Send again", "Edit", "Discard"]);
    assert.equal(await page.inputValue("#comment"), "the next");
    await row.getByRole("button", { name: "Edit" }).click();
    assert.equal(await page.inputValue("#comment"), "a\u0007b\n\nthe next");
    assert.equal(await waiting(page).count(), 0);
  }));

test("a board that was closed meanwhile says so beside the post", () =>
  withPage(async (page, node) => {
    await node.sql("UPDATE boards SET post = 'closed';");
    await send(page, "too late");
    const row = page.locator('.topic[data-state="failed"]');
    await row.waitFor();
    assert.equal(await row.locator(".why").innerText(), "This board is closed: you can read it, but not post.");
    await node.sql("UPDATE boards SET post = 'open';");
    await row.getByRole("button", { name: "Send again" }).click();
    await page.locator("#topics .topic:not([data-key])", { hasText: "too late" }).waitFor();
  }));

test("offline, posts wait, can be taken back, and go out once each", () =>
  withPage(async (page, node, context) => {
    await context.setOffline(true);
    await isAt(page, "offline");
    for (const text of ["one", "two", "three", "never"]) await send(page, text);
    await page.locator("#band", { hasText: "4 posts wait here and go out once each." }).waitFor();
    assert.equal(await waiting(page).first().locator(".why").innerText(), "Goes out when the connection is back");
    await waiting(page).filter({ hasText: "never" }).getByRole("button", { name: "Cancel" }).click();
    assert.deepEqual(await comments(page), ["three", "two", "one"]);
    await context.setOffline(false);
    await page.waitForFunction(() => document.querySelectorAll("#topics .topic:not([data-key])").length === 3);
    assert.deepEqual(await comments(page), ["three", "two", "one"]);
    const { topics } = await (await fetch(`${node.url}/api/v1/boards/main/topics`)).json();
    assert.deepEqual(topics.map(({ comment }) => comment).sort(), ["one", "three", "two"]);
  }));

test("more than 20 waiting posts are refused in words, and the text stays", () =>
  withPage(async (page, _node, context) => {
    await context.setOffline(true);
    await isAt(page, "offline");
    for (let n = 1; n <= 21; n += 1) await send(page, `post ${n}`);
    assert.equal(await fault(page), "20 posts are waiting. Please wait for the connection before writing more.");
    assert.equal(await page.inputValue("#comment"), "post 21");
    assert.equal(await waiting(page).count(), 20);
  }));
