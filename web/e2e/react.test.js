// useBoard in an app of React 19, which renders twice whatever it can (StrictMode).

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { Node, startChromium } from "./node.js";
import { Relay } from "./relay.js";

const { build } = createRequire(new URL("../client/package.json", import.meta.url))("esbuild");

/** @type {import("playwright-core").Browser} */
let chromium;
/** @type {string} */
let app;
before(async () => {
  const dist = (file) => fileURLToPath(new URL(`../dist/${file}`, import.meta.url));
  const [built] = await Promise.all([
    build({
      entryPoints: ["react-app.jsx"],
      bundle: true,
      write: false,
      format: "esm",
      jsx: "automatic",
      // What is built, under the names that the package exports.
      alias: { "@kairanban/client": dist("index.js"), "@kairanban/client/react": dist("react.js") },
      nodePaths: ["node_modules"],
    }),
    startChromium().then((started) => (chromium = started)),
  ]);
  app = built.outputFiles[0].text;
});
after(() => chromium.close());

async function withApp(story) {
  const relay = await Relay.start();
  const node = (relay.node = await Node.start({ STREAM__HEARTBEAT_S: "1", STREAM__RETRY_MIN_MS: "100", STREAM__RETRY_MAX_MS: "200" }));
  const page = await chromium.newPage();
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("console", (message) => message.type() === "error" && !/Failed to load resource/.test(message.text()) && page.faults.push(message.text()));
  relay.page = '<!doctype html><meta charset="utf-8"><title>app</title><div id="root"></div><script type="module" src="/app.js"></script>';
  relay.app = app;
  try {
    await node.sql("INSERT INTO boards (name) VALUES ('fair');");
    await page.goto(`${relay.url}/embedding`);
    await isAt(page, "live");
    await story({ node, relay, page });
    assert.deepEqual(page.faults, []);
  } finally {
    await page.close();
    relay.end();
    await node.end();
  }
}

const isAt = (page, status, board = "main") => page.locator(`section[aria-label=${board}][data-status=${status}]`).waitFor();
const rows = (page, board = "main") => page.locator(`section[aria-label=${board}] li:not([data-state])`);
const shows = (page, text, board) => rows(page, board).filter({ hasText: text }).waitFor();
const topicsOf = async (node, board) => (await (await fetch(`${node.url}/api/v1/boards/${board}/topics`)).json()).topics.map(({ comment }) => comment);

async function post(page, text) {
  await page.locator("section[aria-label=main] input").fill(text);
  await page.keyboard.press("Enter");
}

test("an app follows a board, and renders again only what changed", () =>
  withApp(async ({ node, page }) => {
    await node.post("one");
    await shows(page, "one");
    const renderedOne = () => page.evaluate(() => window.rendered.one);
    const before = await renderedOne();
    await node.post("two");
    await shows(page, "two");
    await node.sql("UPDATE topics SET comment = 'two, edited' WHERE comment = 'two';");
    await shows(page, "two, edited");
    assert.deepEqual(await rows(page).allTextContents(), ["one", "two, edited"]);
    assert.equal(await renderedOne(), before);
  }));

test("an app posts, once each, and survives a restart of the server", () =>
  withApp(async ({ node, relay, page }) => {
    await post(page, "first");
    await shows(page, "first");
    relay.lost = 1;
    await post(page, "its answer is lost");
    await shows(page, "its answer is lost");
    await node.kill();
    await isAt(page, "reconnecting");
    await post(page, "meanwhile");
    await page.locator("li[data-state]", { hasText: "meanwhile" }).waitFor();
    await node.restart();
    await node.post("of another");
    await shows(page, "of another");
    await shows(page, "meanwhile");
    await isAt(page, "live");
    await page.locator("li[data-state]").first().waitFor({ state: "detached" });
    const comments = await rows(page).allTextContents();
    assert.deepEqual(comments.toSorted(), ["first", "its answer is lost", "meanwhile", "of another"]);
    assert.deepEqual(await topicsOf(node, "main"), comments);
  }));

test("boards come and go with their components, on one stream, which ends with the last", () =>
  withApp(async ({ node, relay, page }) => {
    await page.getByText("Both").click();
    await isAt(page, "live", "fair");
    await node.post("at the fair", "b/fair");
    await shows(page, "at the fair", "fair");
    await relay.has(1);
    await page.getByText("None").click();
    await relay.has(0);
    assert.equal(await page.locator("section").count(), 0);
  }));
