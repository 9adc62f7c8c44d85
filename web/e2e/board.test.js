// The board page in a real browser.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Node, startChromium } from "./node.js";
import { comments, isAt, isPosted, ready, shows } from "./tab.js";

/** @type {import("playwright-core").Browser} */
let chromium;
before(async () => (chromium = await startChromium()));
after(() => chromium.close());

/** Opens a board with a browser context of its own, and fails on whatever the page complains of. */
async function open(node, options = {}, path = "/") {
  const context = await chromium.newContext(options);
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => /Content Security Policy|SyntaxError/.test(message.text()) && page.complaints.push(message.text()));
  page.on("dialog", (dialog) => page.complaints.push(dialog.message()));
  await page.goto(node.url + path);
  return page;
}
const live = (page) => isAt(page, "live");

async function withNode(settings, story) {
  const node = await Node.start(settings);
  try {
    await story(node);
  } finally {
    await Promise.all(chromium.contexts().map((context) => context.close()));
    await node.end();
  }
}

test("a post in one tab appears in another within 100 ms, without a reload", () =>
  withNode({}, async (node) => {
    const [one, other] = [await open(node), await open(node)];
    await Promise.all([ready(one), ready(other)]);
    await other.evaluate(() => {
      window.loadedOnce = true;
      window.seen = {};
      const note = () => {
        for (const comment of document.querySelectorAll("#topics .comment")) window.seen[comment.textContent] ??= Date.now();
      };
      new MutationObserver(note).observe(document.getElementById("topics"), { childList: true, subtree: true });
    });
    const delays = [];
    for (let n = 0; n < 5; n += 1) {
      await one.fill("#comment", `tab ${n}`);
      const sent = one.evaluate(
        () =>
          new Promise((resolve) => {
            document.getElementById("post").addEventListener("submit", () => resolve(Date.now()), { once: true, capture: true });
          }),
      );
      await one.click("#post button");
      await shows(other, `tab ${n}`);
      delays.push((await other.evaluate((text) => window.seen[text], `tab ${n}`)) - (await sent));
    }
    delays.sort((a, b) => a - b);
    assert.ok(delays[2] < 100, `the middle of ${delays} ms`);
    assert.equal(await other.evaluate(() => window.loadedOnce), true);
    assert.deepEqual(await comments(one), await comments(other));
    assert.equal(await one.inputValue("#comment"), "");
    assert.deepEqual([one.complaints, other.complaints], [[], []]);
  }));

test("edits and deletes by others are followed, the newest on top", () =>
  withNode({}, async (node) => {
    await node.post("first");
    const page = await open(node);
    await live(page);
    await node.post("second");
    await shows(page, "second");
    assert.deepEqual(await comments(page), ["second", "first"]);
    assert.equal(await page.isVisible("#empty"), false);
  }));

test("the tutorial's own page script works unchanged", () =>
  withNode({}, async (node) => {
    const context = await chromium.newContext();
    const page = await context.newPage();
    // The page as the tutorial has it, served on our origin.
    await page.route("**/tutorial", (route) =>
      route.fulfill({
        contentType: "text/html",
        body: `<!doctype html><ul id="topics"></ul><script>
          const evtSource = new EventSource("/topic_stream/");
          evtSource.onmessage = function (event) {
            const data = JSON.parse(event.data);
            const list = document.getElementById("topics");
            list.innerHTML = "";
            for (const topic of data.contents) {
              const item = document.createElement("li");
              item.textContent = topic.id + ": " + topic.comment;
              list.appendChild(item);
            }
          };
        </script>`,
      }),
    );
    await node.post("before");
    await page.goto(`${node.url}/tutorial`);
    await page.locator("li", { hasText: "1: before" }).waitFor();
    await node.post("after");
    await page.locator("li", { hasText: "2: after" }).waitFor();
    assert.deepEqual(await page.locator("li").allTextContents(), ["1: before", "2: after"]);
  }));

test("it works without script", () =>
  withNode({}, async (node) => {
    const page = await open(node, { javaScriptEnabled: false, locale: "ja-JP" });
    await page.fill("#comment", "  ");
    await page.fill("#author", "花子");
    await page.click("#post button");
    assert.equal(await page.textContent("#comment-fault"), "何か書いてください。");
    assert.equal(await page.inputValue("#author"), "花子");
    await page.fill("#comment", "清掃は日曜です\n八時から");
    await page.click("#post button");
    assert.equal(new URL(page.url()).pathname, "/");
    assert.deepEqual(await comments(page), ["清掃は日曜です\n八時から"]);
    await page.reload();
    assert.equal((await comments(page)).length, 1, "reloading does not post again");
  }));

test("what is refused is said beside the field, in the reader's language, and nothing typed is lost", () =>
  withNode({}, async (node) => {
    const page = await open(node, { locale: "ja-JP" });
    await ready(page);
    await page.fill("#comment", "   ");
    await page.click("#post button");
    assert.equal(await page.locator("#comment-fault").textContent(), "何か書いてください。");
    assert.equal(await page.getAttribute("#comment", "aria-invalid"), "true");
    await page.fill("#comment", "ok");
    await page.click("#post button");
    await isPosted(page, "ok");
    assert.equal(await page.locator("#comment-fault").textContent(), "");
    await node.kill();
    await page.fill("#comment", "keep me");
    await page.click("#post button");
    await page.locator('.topic[data-state="waiting"]').waitFor();
    await node.restart();
    await isPosted(page, "keep me");
    assert.deepEqual(await comments(page), ["keep me", "ok"]);
  }));

test("text never runs", () =>
  withNode({}, async (node) => {
    const evil = ['<img src=x onerror="alert(1)">', "<script>alert(2)</script>", '"><svg onload=alert(3)>', "javascript:alert(4)", "{{7*7}}"];
    await node.post(evil[0]);
    const page = await open(node);
    await live(page);
    for (const text of evil.slice(1)) await node.post(text);
    await page.waitForFunction((count) => document.querySelectorAll("#topics .topic").length === count, evil.length);
    assert.deepEqual(await comments(page), [...evil].reverse());
    await page.reload();
    assert.deepEqual(await comments(page), [...evil].reverse());
    assert.equal(await page.locator("#topics img, #topics script, #topics svg").count(), 0);
    assert.deepEqual(page.complaints, []);
  }));

test("after a crash the page says so, comes back by itself and has missed nothing", () =>
  withNode({ STREAM__RETRY_MIN_MS: "100", STREAM__RETRY_MAX_MS: "200" }, async (node) => {
    await node.post("before");
    const page = await open(node);
    await live(page);
    await node.kill();
    await page.waitForSelector('#state[data-state="reconnecting"]');
    await node.restart();
    await node.post("while away");
    await live(page);
    await shows(page, "while away");
    assert.deepEqual(await comments(page), ["while away", "before"]);
    assert.deepEqual(page.complaints, []);
  }));

test("it fits a phone and follows the system's colours", () =>
  withNode({}, async (node) => {
    await node.post("x".repeat(500));
    const ground = [];
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(node, { viewport: { width: 360, height: 640 }, colorScheme });
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth), false, "no sideways scrolling");
      const { height } = await page.locator("#post button").boundingBox();
      assert.ok(height >= 44, `a finger needs 44 px, the button has ${height}`);
      ground.push(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    }
    assert.notEqual(ground[0], ground[1]);
  }));

test("the API's description is there without another site, and its requests work", () =>
  withNode({}, async (node) => {
    const page = await open(node, {}, "/api/v1/docs/");
    const elsewhere = [];
    page.on("request", (request) => request.url().startsWith(node.url) || elsewhere.push(request.url()));
    const operation = page.locator("#operations-topics-post_topic");
    await operation.locator("button.opblock-summary-control").click();
    await operation.locator('tr[data-param-name="board"] input').fill("main");
    await operation.locator("textarea").first().fill('{"comment":"from the description"}');
    await operation.locator("button.execute").click();
    await operation.locator(".live-responses-table .response-col_status", { hasText: "201" }).waitFor();
    assert.deepEqual([page.complaints, elsewhere], [[], []]);
  }));

test("a closed board shows its list without a form, live", () =>
  withNode({}, async (node) => {
    const close = `UPDATE boards SET post = 'closed';`;
    await node.sql(`INSERT INTO topics (board_id, comment) VALUES (1, 'the last word'); ${close}`);
    const page = await open(node);
    await live(page);
    assert.deepEqual([await comments(page), await page.locator("form[method=post]").count()], [["the last word"], 0]);
    assert.equal(await page.locator("#no-post").innerText(), "This board is closed: you can read it, but not post.");
    assert.deepEqual(page.complaints, []);
  }));
