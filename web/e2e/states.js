// What brings a board page into each of its states, for tests and pictures.

import { isAt } from "./tab.js";

async function send(page, text) {
  await page.fill("#comment", text);
  await page.keyboard.press("Control+Enter");
}

/** @type {Record<string, (on: {page: any, node: any, context: any}) => Promise<void>>} */
export const STATES = {
  /** New topics wait while one reads further down. */
  async pill({ page, node }) {
    await page.evaluate(() => scrollTo(0, 700));
    await node.post("new a");
    await node.post("new b");
    await page.waitForSelector("#pill:not([hidden])");
  },
  async mark({ page, node }) {
    await page.goto("about:blank");
    await node.post("while away");
    await page.goto(node.url);
    await page.waitForSelector(".left-off");
    await isAt(page, "live");
  },
  async reconnecting({ page, node }) {
    await node.kill();
    await page.locator("#state", { hasText: /\d/ }).waitFor();
  },
  async offline({ page, context }) {
    await page.fill("#author", "Hanako");
    await context.setOffline(true);
    await isAt(page, "offline");
    await send(page, "Who can feed the koi tomorrow?");
    await send(page, "Left the ladder at number 7.");
    await page.locator('.topic[data-state="waiting"]').nth(1).waitFor();
  },
  async stale({ page }) {
    await page.evaluate(() => window.sources.at(-1).dispatchEvent(new MessageEvent("stale", { data: JSON.stringify({ since: new Date(Date.now() - 3e5) }) })));
    await isAt(page, "stale");
  },
  async failed({ page, node }) {
    await node.sql("UPDATE boards SET post = 'closed' WHERE name = 'main';");
    await send(page, "Who is driving to the recycling centre on Saturday?");
    await page.waitForSelector('.topic[data-state="failed"]');
  },
  async held({ page, context }) {
    await context.route("**/api/v1/boards/main/topics", (route) => route.fulfill({ status: 202, json: {} }));
    await send(page, "Piano to give away, ground floor, bring four friends.");
    await page.waitForSelector('.topic[data-state="held"]');
  },
  async refused({ page }) {
    await send(page, "x".repeat(2_001));
    await page.waitForSelector("#comment-fault:not(:empty)");
  },
  async struck({ page, node }) {
    const row = page.locator("#topics .topic").nth(1);
    await row.focus();
    const id = (await row.getAttribute("id")).replace("topic-", "");
    await node.sql(`DELETE FROM topics WHERE id = ${id};`);
    await page.waitForSelector(".topic.gone");
  },
  async ended({ page, node }) {
    await node.sql("DELETE FROM boards WHERE name = 'main';");
    await isAt(page, "ended");
  },
};
