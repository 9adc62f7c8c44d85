// Reading a board that changes: nothing moves, nothing is missed, and the page says how it stands.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Node, startChromium } from "./node.js";
import { comments, hide, isAt, openTab, postAll, ready, shows } from "./tab.js";

/** @type {import("playwright-core").Browser} */
let chromium;
before(async () => (chromium = await startChromium()));
after(() => chromium.close());

async function withNode(story, options = {}) {
  const node = await Node.start({ STREAM__RETRY_MIN_MS: "100", STREAM__RETRY_MAX_MS: "200" });
  const context = await chromium.newContext({ locale: "en-GB", viewport: { width: 1280, height: 800 }, ...options });
  try {
    await story(node, (path = "") => openTab(context, node.url + path), context);
  } finally {
    await Promise.all(chromium.contexts().map((context) => context.close()));
    await node.end();
  }
}
const many = (count, from = 1) => Array.from({ length: count }, (_, n) => `topic ${from + n}`);
const pill = (page, text) => page.locator("#pill:not([hidden])", { hasText: text }).waitFor();
const focus = (page) => page.evaluate(() => document.activeElement?.querySelector(".comment")?.textContent ?? document.activeElement?.id);

test("all tabs of a board are on one stream", () =>
  withNode(async (node, open) => {
    const tabs = [await open(), await open("/b/main"), await open("/?view=wall")];
    for (const tab of tabs) await isAt(tab, "live");
    await node.post("for all");
    for (const tab of tabs) await shows(tab, "for all");
    const sources = await Promise.all(tabs.map((tab) => tab.evaluate(() => window.sources.filter(({ readyState }) => readyState !== 2).length)));
    assert.equal(sources.reduce((sum, count) => sum + count), 1, `${sources}`);
  }));

test("a list that differs from the server's heals", () =>
  withNode(async (node, _open, context) => {
    await postAll(node, "first", "second");
    // As if an edit of the first had been lost on the way to this page.
    await context.route(`${node.url}/`, async (route) => {
      const answer = await route.fetch();
      const body = (await answer.text()).replace(/(?<=id="topic-1" data-revision=")\d+/, "9").replace(">first<", ">wrong<");
      await route.fulfill({ response: answer, body });
    });
    const page = await openTab(context, node.url);
    await isAt(page, "live");
    assert.deepEqual(await comments(page), ["second", "wrong"]);
    await node.post("third");
    await shows(page, "first");
    assert.deepEqual(await comments(page), ["third", "second", "first"]);
    assert.deepEqual(page.complaints, []);
  }));

test("what is new waits while one reads further down, and nothing moves", () =>
  withNode(async (node, open) => {
    await postAll(node, ...many(30));
    const page = await open();
    await ready(page);
    await page.evaluate(() => document.getElementById("topic-10").scrollIntoView());
    const place = () => page.evaluate(() => document.getElementById("topic-10").getBoundingClientRect().top);
    const before = await place();
    await postAll(node, "new a", "new b");
    await pill(page, "2 new");
    assert.equal((await comments(page))[0], "topic 30");
    assert.equal(await page.title(), "(2) main – kairanban");
    await node.sql("UPDATE topics SET comment = 'topic 11, edited' WHERE id = 11; DELETE FROM topics WHERE id = 25;");
    await shows(page, "topic 11, edited");
    await page.waitForSelector("#topic-25", { state: "detached" });
    assert.ok(Math.abs((await place()) - before) < 2, "what one reads stays where it is");
    await page.click("#pill");
    assert.deepEqual((await comments(page)).slice(0, 3), ["new b", "new a", "topic 30"]);
    assert.equal(await focus(page), "new b");
    assert.equal(await page.evaluate(() => scrollY), 0);
    assert.equal(await page.title(), "main – kairanban");
    // The list has the focus now, so what comes next waits, too; until the focus leaves it.
    await node.post("new c");
    await pill(page, "1 new");
    await page.focus("#comment");
    await shows(page, "new c");
    assert.equal(await page.isVisible("#pill"), false);
    assert.deepEqual(page.complaints, []);
  }));

test("a line stands where one left off, and does not move during the visit", () =>
  withNode(async (node, open) => {
    await postAll(node, "old 1", "old 2");
    const first = await open();
    await ready(first);
    assert.equal(await first.locator(".left-off").count(), 0, "there was no visit before");
    await first.close();
    await postAll(node, "away 1", "away 2");
    const page = await open();
    await ready(page);
    const marked = () => page.locator(".topic:has(.left-off) .comment").allTextContents();
    assert.equal(await page.locator(".left-off b").textContent(), "You left off here · 2 came while you were away");
    assert.deepEqual(await marked(), ["old 2"]);
    await node.post("now");
    await shows(page, "now");
    assert.deepEqual(await marked(), ["old 2"]);
    await page.focus("#topic-4");
    await page.keyboard.press("u");
    assert.equal(await focus(page), "old 2");
    await page.reload();
    await ready(page);
    assert.equal(await page.locator(".left-off").count(), 0, "all has been seen");
  }));

test("a tab in the background counts what came, in its title, icon and list of boards", () =>
  withNode(async (node, open) => {
    const page = await open();
    await ready(page);
    await hide(page, true);
    await postAll(node, "one", "two");
    await shows(page, "two");
    assert.equal(await page.title(), "(2) main – kairanban");
    assert.match(await page.getAttribute("link[rel=icon]", "href"), /unread/);
    assert.equal(await page.locator("#boards [aria-current] .count").textContent(), "2 new");
    await hide(page, false);
    assert.equal(await page.title(), "main – kairanban");
    assert.doesNotMatch(await page.getAttribute("link[rel=icon]", "href"), /unread/);
    assert.equal(await page.locator("#boards .count").count(), 0);
  }));

test("the boards beside it that one has been to count what is new since, live, on the same stream", () =>
  withNode(async (node, _open, context) => {
    await node.sql("INSERT INTO boards (name, read) VALUES ('fair', 'open'), ('lost', 'open'), ('never', 'open');");
    await Promise.all(["fair", "lost", "never"].map((board) => node.post(`old on ${board}`, `b/${board}`)));
    const visit = async (path) => {
      const page = await openTab(context, node.url + path);
      await ready(page);
      return page;
    };
    for (const board of ["fair", "lost"]) await (await visit(`/b/${board}`)).close();
    await node.post("away", "b/fair");
    const page = await visit("/");
    const counts = () => page.locator("#boards li a").evaluateAll((links) => links.map((link) => link.innerText.replace(/\s+/g, " ").trim()));
    const isCounted = (...wanted) => page.waitForFunction((wanted) => [...document.querySelectorAll("#boards a[data-board]")].map((link) => link.querySelector(".count span")?.textContent ?? "").join() === wanted, wanted.join());
    await isCounted("1", "", "", "");
    await node.post("and now", "b/fair");
    await node.post("here, too", "b/lost");
    await node.post("not counted", "b/never");
    await isCounted("2", "1", "", "");
    assert.deepEqual(await counts(), ["fair 2 new", "lost 1 new", "main", "never"]);
    const open = await page.evaluate(() => window.sources.filter(({ readyState }) => readyState !== 2).map(({ url }) => url));
    assert.equal(open.length, 1, `one stream: ${open}`);
    // Seen in another tab, it is seen.
    const other = await visit("/b/fair");
    await isCounted("", "1", "", "");
    await other.close();
    await node.sql("DELETE FROM boards WHERE name = 'lost';");
    await isCounted("", "", "", "");
    await isAt(page, "live");
    await page.setViewportSize({ width: 390, height: 800 });
    await node.post("once more", "b/fair");
    await page.click(".switch");
    await page.locator("#boards .count", { hasText: "1 new" }).waitFor();
    assert.deepEqual(page.complaints, []);
  }));

test("the connection is said in words: live, lost, offline, old, and back", () =>
  withNode(async (node, open, context) => {
    await node.post("kept");
    const page = await open();
    await ready(page);
    const said = async () => (await page.locator("#state").innerText()).trim();
    const band = async () => ((await page.isVisible("#band")) ? (await page.locator("#band p").innerText()).trim() : "");
    assert.deepEqual([await said(), await band()], ["Live", ""]);
    await page.evaluate(() => window.sources.at(-1).dispatchEvent(new MessageEvent("stale", { data: JSON.stringify({ since: "2026-11-25T12:04:00Z" }) })));
    await isAt(page, "stale");
    assert.deepEqual([await said(), await band()], ["As of 12:04", "This list is from 12:04. The database cannot be reached; new topics appear as soon as it can."]);
    await page.evaluate(() => window.sources.at(-1).dispatchEvent(new MessageEvent("fresh", { data: "{}" })));
    await isAt(page, "live");
    await context.setOffline(true);
    await isAt(page, "offline");
    assert.deepEqual([await said(), await band()], ["Offline", "You are offline."]);
    await context.setOffline(false);
    await isAt(page, "live");
    await node.kill();
    await isAt(page, "reconnecting");
    assert.match(await band(), /^The connection was lost\. Nothing is missed/);
    await page.locator("#state", { hasText: /Back in \d+ s/ }).waitFor();
    assert.equal(await page.locator("#state .hidden").textContent(), "Reconnecting…", "seconds are not announced");
    await node.restart();
    await node.post("meanwhile");
    await page.click("#try");
    await isAt(page, "live");
    await shows(page, "meanwhile");
    assert.deepEqual([await comments(page), await band(), page.complaints], [["meanwhile", "kept"], "", []]);
  }));

test("a board that is deleted says so and shows nothing more; what was being written stays", () =>
  withNode(async (node, open) => {
    await node.sql("INSERT INTO boards (name, title) VALUES ('fair', 'Fair');");
    await node.post("soon gone", "b/fair");
    const page = await open("/b/fair");
    await ready(page);
    await page.fill("#comment", "half a sentence");
    await node.sql("DELETE FROM boards WHERE name = 'fair';");
    await isAt(page, "ended");
    assert.deepEqual(await comments(page), []);
    assert.equal(await page.locator("#empty p").innerText(), "This board was deleted, so its topics are no longer shown.");
    assert.equal(await page.inputValue("#comment"), "half a sentence");
    assert.equal(await page.isDisabled("#post .main"), true);
  }));

test("focus stays when the list changes, also where the topic is taken down", () =>
  withNode(async (node, open) => {
    await postAll(node, "one", "two", "three");
    const page = await open();
    await ready(page);
    await page.focus("#topic-2");
    await node.sql("UPDATE topics SET comment = 'two, edited' WHERE id = 2;");
    await shows(page, "two, edited");
    assert.equal(await focus(page), "two, edited");
    await node.sql("DELETE FROM topics WHERE id = 2;");
    await page.waitForSelector("#topic-2.gone");
    assert.equal(await page.locator("#topic-2 .note").innerText(), "This was taken down.");
    assert.equal(await focus(page), "two, edited");
    assert.deepEqual(await comments(page), ["three", "two, edited", "one"]);
    await page.keyboard.press("PageDown");
    assert.equal(await focus(page), "one");
    await page.waitForSelector("#topic-2", { state: "detached" });
    assert.deepEqual(page.complaints, []);
  }));

test("keys go through the topics, to the form and the search; letters can be turned off", () =>
  withNode(async (node, open) => {
    await postAll(node, "one", "two", "three");
    const page = await open();
    await ready(page);
    await page.focus("#topic-3");
    const after = async (key) => (await page.keyboard.press(key), focus(page));
    assert.deepEqual([await after("PageDown"), await after("PageDown"), await after("PageUp")], ["two", "one", "two"]);
    assert.equal(await after("Control+Home"), "comment");
    assert.equal(await after("n"), "comment");
    assert.equal(await page.inputValue("#comment"), "n", "within a field a letter is a letter");
    await page.focus("#topic-3");
    assert.equal(await after("/"), "q");
    await page.focus("#topic-3");
    assert.equal(await after("?"), "keys");
    await page.uncheck("#keys input");
    await page.focus("#topic-3");
    assert.equal(await after("n"), "three");
    await page.reload();
    await ready(page);
    assert.equal(await page.isChecked("#keys input"), false, "it is remembered");
  }));

test("what comes is announced, together and without haste", () =>
  withNode(async (node, open) => {
    const page = await open();
    await ready(page);
    await page.evaluate(() => {
      window.heard = [];
      new MutationObserver(() => window.heard.push(document.getElementById("log").textContent)).observe(document.getElementById("log"), { childList: true });
    });
    await node.post("hello");
    await page.waitForFunction(() => window.heard.length === 1);
    await postAll(node, ...many(5));
    await page.waitForFunction(() => window.heard.length === 2, undefined, { timeout: 8_000 });
    assert.deepEqual(await page.evaluate(() => window.heard), ["New from Anonymous: hello", "5 new topics"]);
    assert.equal(await page.locator("#topics #log").count(), 0, "it is no part of the feed");
  }));

test("the link of a topic can be copied", () =>
  withNode(
    async (node, open) => {
      await node.post("one");
      const page = await open();
      await ready(page);
      await page.hover("#topic-1");
      await page.click("#topic-1 .copy");
      await page.waitForSelector("#topic-1 .copy.done");
      assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `${node.url}/b/main/topics/1`);
      assert.equal(await page.getAttribute("#topic-1 .copy", "aria-label"), "The link was copied");
    },
    { permissions: ["clipboard-read", "clipboard-write"] },
  ));
