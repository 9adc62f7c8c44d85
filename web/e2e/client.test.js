// The client of web/client in real tabs: what the tests with fake ones beside it cannot know.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Node, startChromium } from "./node.js";
import { Relay } from "./relay.js";

// A name that is no secure context, and leads here.
const PLAIN = "board.test";

/** @type {import("playwright-core").Browser} */
let chromium;
before(async () => (chromium = await startChromium([`--host-resolver-rules=MAP ${PLAIN} 127.0.0.1`])));
after(() => chromium.close());

const SETTINGS = { STREAM__HEARTBEAT_S: "1", STREAM__RETRY_MIN_MS: "100", STREAM__RETRY_MAX_MS: "200", SERVER__HOSTS: PLAIN };

async function withRelay(story, settings = {}) {
  const node = await Node.start({ ...SETTINGS, ...settings });
  const relay = await Relay.start(node);
  const context = await chromium.newContext();
  try {
    await story({ node, relay, context, open: (query = "", url = relay.url) => open(context, `${url}/tab?${query}`) });
  } finally {
    await Promise.all(chromium.contexts().map((context) => context.close()));
    relay.end();
    await node.end();
  }
}

async function open(context, url) {
  const page = await context.newPage();
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  await page.addInitScript(() => {
    const Native = window.EventSource;
    window.sources = [];
    window.EventSource = class extends Native {
      constructor(...inputs) {
        super(...inputs);
        window.sources.push(this);
      }
    };
  });
  await page.goto(url);
  return page;
}

const state = (page) => page.evaluate(() => ({ ...window.board.getSnapshot(), own: [] }));
const shows = (page, comments) =>
  page.waitForFunction(
    (wanted) => JSON.stringify(window.board?.getSnapshot().topics.map(({ comment }) => comment)) === wanted,
    JSON.stringify(comments),
  );
const isAt = (page, name) => page.waitForFunction((name) => window.board?.getSnapshot().status.name === name, name);
const leads = (page) => page.evaluate(() => window.sources.some(({ readyState }) => readyState !== 2));
const post = (page, text) => page.evaluate((text) => window.board.post(text), text);

async function leaderOf(pages) {
  const leading = await Promise.all(pages.map(leads));
  assert.equal(leading.filter(Boolean).length, 1, "one tab has the stream");
  return pages[leading.indexOf(true)];
}

async function eventually(condition, what) {
  const end = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > end) assert.fail(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

for (const [where, host] of [
  ["with Web Locks", "127.0.0.1"],
  ["on plain http", PLAIN],
]) {
  test(`eight tabs are on one stream, the leader closes, the next is killed, and nothing is missed, ${where}`, () =>
    withRelay(async ({ node, relay, open }) => {
      const url = `http://${host}:${relay.port}`;
      let pages = await Promise.all(Array.from({ length: 8 }, () => open("", url)));
      assert.equal(await pages[0].evaluate(() => "locks" in navigator), host !== PLAIN);
      await Promise.all(pages.map((page) => isAt(page, "live")));
      await relay.has(1);
      await node.post("one");
      await Promise.all(pages.map((page) => shows(page, ["one"])));

      const closed = await leaderOf(pages);
      pages = pages.filter((page) => page !== closed);
      await Promise.all([closed.close(), node.post("two")]);
      await Promise.all(pages.map((page) => shows(page, ["one", "two"])));
      await relay.has(1);

      const killed = await leaderOf(pages);
      const session = await killed.context().newCDPSession(killed);
      const crashed = new Promise((resolve) => killed.once("crash", resolve));
      session.send("Page.crash").catch(() => {});
      await crashed;
      pages = pages.filter((page) => page !== killed);
      await node.post("three");
      await Promise.all(pages.map((page) => shows(page, ["one", "two", "three"])));
      await leaderOf(pages);
      await Promise.all(pages.map((page) => isAt(page, "live")));
      for (const page of pages) assert.deepEqual(page.faults, []);
    }));
}

test("a leader that is frozen, hidden or hangs hands over, and follows when it is back", () =>
  withRelay(async ({ node, relay, open }) => {
    const pages = [await open(), await open()];
    await Promise.all(pages.map((page) => isAt(page, "live")));
    const comments = [];
    const handsOver = async (stop, start) => {
      const first = await leaderOf(pages);
      const other = pages.find((page) => page !== first);
      const resume = await stop(first);
      comments.push(`during ${comments.length}`);
      await node.post(comments.at(-1));
      await shows(other, comments);
      await eventually(() => leads(other), "the other leads");
      await start(first, resume);
      comments.push(`after ${comments.length}`);
      await node.post(comments.at(-1));
      await Promise.all(pages.map((page) => shows(page, comments)));
      await relay.has(1);
    };
    // Headless pages are always visible, so the events are ours.
    const dispatch = (name) => (page) => page.evaluate((name) => void document.dispatchEvent(new Event(name)), name);
    const hide = (hidden) => (page) =>
      page.evaluate((hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
      }, hidden);
    await handsOver(dispatch("freeze"), dispatch("resume"));
    await handsOver(hide(true), hide(false));
    // Nothing of it runs, as in a tab that the system has suspended.
    const hang = async (page) => {
      const session = await page.context().newCDPSession(page);
      await session.send("Debugger.enable");
      const paused = new Promise((resolve) => session.once("Debugger.paused", resolve));
      await session.send("Debugger.pause");
      await paused;
      return session;
    };
    await handsOver(hang, (_page, session) => session.send("Debugger.disable"));
  }));

test("a relay that falls silent is noticed within three heartbeats, and nothing is missed", () =>
  withRelay(async ({ node, relay, open }) => {
    const page = await open();
    await isAt(page, "live");
    relay.silence();
    const at = Date.now();
    await node.post("unheard");
    await shows(page, ["unheard"]);
    const [lost] = await page.evaluate(() => window.seen.filter(({ status }) => status === "reconnecting"));
    assert.ok(lost && lost.at - at < 3_500, `noticed after ${lost?.at - at} ms`);
    await isAt(page, "live");
  }));

test("a server that is killed comes back, and all tabs with it", () =>
  withRelay(async ({ node, open }) => {
    const pages = [await open(), await open()];
    await Promise.all(pages.map((page) => isAt(page, "live")));
    await node.kill();
    await Promise.all(pages.map((page) => isAt(page, "reconnecting")));
    await node.restart();
    await node.post("after");
    await Promise.all(pages.map((page) => shows(page, ["after"])));
    await Promise.all(pages.map((page) => isAt(page, "live")));
  }));

test("where the browser gives up, because a proxy answers 502, the client comes back", () =>
  withRelay(async ({ node, relay, open }) => {
    const page = await open();
    await isAt(page, "live");
    relay.refused = 3;
    relay.cut();
    await isAt(page, "reconnecting");
    await node.post("meanwhile");
    await shows(page, ["meanwhile"]);
    await isAt(page, "live");
  }));

test("three posts that were written offline are three topics once each", () =>
  withRelay(async ({ node, context, open }) => {
    const [page, other] = [await open(), await open()];
    await Promise.all([isAt(page, "live"), isAt(other, "live")]);
    await context.setOffline(true);
    await isAt(page, "offline");
    for (const text of ["one", "two", "three"]) await post(page, text);
    assert.deepEqual((await state(page)).posts.map(({ state }) => state), ["waiting", "waiting", "waiting"]);
    await context.setOffline(false);
    await Promise.all([shows(page, ["one", "two", "three"]), shows(other, ["one", "two", "three"])]);
    await page.waitForFunction(() => window.board.getSnapshot().posts.length === 0);
    const answer = await fetch(`${node.url}/api/v1/boards/main/topics`);
    assert.equal((await answer.json()).topics.length, 3);
  }));

test("a post whose answer is lost is there once, and never twice on the page", () =>
  withRelay(async ({ node, relay, open }) => {
    const page = await open();
    await isAt(page, "live");
    relay.lost = 2;
    await post(page, "once");
    await page.waitForFunction(() => window.board.getSnapshot().posts.length === 0 && window.board.getSnapshot().own.size === 1);
    await shows(page, ["once"]);
    assert.equal(relay.lost, 0);
    const rows = await page.evaluate(() => window.seen.map(({ rows }) => rows.length));
    assert.equal(Math.max(...rows), 1);
    const answer = await fetch(`${node.url}/api/v1/boards/main/topics`);
    assert.equal((await answer.json()).topics.length, 1);
  }));

test("a post that waits is kept over a reload", () =>
  withRelay(async ({ node, open }) => {
    const page = await open();
    await isAt(page, "live");
    await node.kill();
    await post(page, "kept");
    page.on("dialog", (dialog) => dialog.accept());
    await page.reload();
    await page.waitForFunction(() => window.board?.getSnapshot().posts.length === 1);
    assert.equal((await state(page)).posts[0].comment, "kept");
    await node.restart();
    await shows(page, ["kept"]);
    await page.waitForFunction(() => window.board.getSnapshot().posts.length === 0);
  }));

test("a refused post shows the server's sentence", () =>
  withRelay(async ({ open }) => {
    const page = await open();
    await isAt(page, "live");
    await post(page, "  ");
    await page.waitForFunction(() => window.board.getSnapshot().posts[0]?.state === "failed");
    const [{ detail, code, errors }] = (await state(page)).posts;
    assert.deepEqual([detail, code, errors[0].field], ["comment must not be empty", "invalid", "comment"]);
  }));

test("a board that is deleted ends in all tabs; others go on, on the same stream", () =>
  withRelay(async ({ node, relay, open }) => {
    await node.sql("INSERT INTO boards (name) VALUES ('lost');");
    const pages = [await open("board=main&board=lost"), await open("board=lost")];
    await Promise.all(pages.map((page) => isAt(page, "live")));
    await relay.has(1);
    const sources = () => Promise.all(pages.map((page) => page.evaluate(() => window.sources.length)));
    const opened = await sources();
    await node.sql("DELETE FROM boards WHERE name = 'lost';");
    const ended = (page) => page.waitForFunction(() => window.client.board("lost").getSnapshot().status.name === "ended");
    await Promise.all(pages.map(ended));
    const { topics, status } = await pages[1].evaluate(() => window.client.board("lost").getSnapshot());
    assert.deepEqual([topics, status.why], [[], "gone"]);
    await node.post("still here");
    await shows(pages[0], ["still here"]);
    // The browser comes back by itself, to an address that still names both.
    relay.cut();
    await node.post("and then");
    await shows(pages[0], ["still here", "and then"]);
    await isAt(pages[0], "live");
    assert.deepEqual(await sources(), opened);
    await Promise.all(pages.map(ended));
  }));

test("a board that is made private clears what it showed", () =>
  withRelay(async ({ node, open }) => {
    await node.post("open until now");
    const page = await open();
    await shows(page, ["open until now"]);
    await node.sql("UPDATE boards SET read = 'token' WHERE name = 'main';");
    await isAt(page, "ended");
    const { topics, status } = await state(page);
    assert.deepEqual([topics, status.why], [[], "auth"]);
  }));
