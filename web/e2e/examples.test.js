// The pages in web/examples, as a site would serve them: live without a line of script of their own.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { Node, startChromium } from "./node.js";

/** @type {import("playwright-core").Browser} */
let chromium;
before(async () => (chromium = await startChromium()));
after(() => chromium.close());

const libraries = {
  "htmx.min.js": "node_modules/htmx.org/dist/htmx.min.js",
  "sse.min.js": "node_modules/htmx-ext-sse/dist/sse.min.js",
  "htmx4.min.js": "node_modules/htmx4/dist/htmx.min.js",
  "hx-sse.min.js": "node_modules/htmx4/dist/ext/hx-sse.min.js",
  "turbo.es2017-esm.js": "node_modules/@hotwired/turbo/dist/turbo.es2017-esm.js",
};

/** Opens an example as if it stood on the board's own site. */
async function open(node, name) {
  const page = await (await chromium.newContext()).newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  const serve = (file, contentType) => async (route) => route.fulfill({ body: await readFile(file, "utf8"), contentType });
  await page.route(`${node.url}/${name}.html`, serve(`../examples/${name}.html`, "text/html; charset=utf-8"));
  for (const [library, file] of Object.entries(libraries)) {
    await page.route(`${node.url}/${library}`, serve(file, "text/javascript; charset=utf-8"));
  }
  await page.goto(`${node.url}/${name}.html`);
  return page;
}

for (const name of ["htmx", "htmx4", "turbo"]) {
  test(`a board is live in ${name}: new, edited, deleted, put back in its place, and after a crash`, async () => {
    const node = await Node.start({ STREAM__RETRY_MIN_MS: "50", STREAM__RETRY_MAX_MS: "100" });
    try {
      const shows = async (page, expected) => {
        const same = (expected) => {
          const found = [...document.querySelectorAll("#topics > li .comment")].map((comment) => comment.textContent);
          return JSON.stringify(found) === JSON.stringify(expected);
        };
        await page.waitForFunction(same, expected, { timeout: 10_000 }).catch(async () => {
          assert.deepEqual(await page.locator("#topics > li .comment").allTextContents(), expected);
        });
      };
      await node.post("one");
      const page = await open(node, name);
      await shows(page, ["one"]);
      await node.post("two <script>alert(1)</script>");
      await node.post("three");
      await shows(page, ["one", "two <script>alert(1)</script>", "three"]);
      await node.sql("UPDATE topics SET comment = '2' WHERE id = 2;");
      await shows(page, ["one", "2", "three"]);
      await node.sql("DELETE FROM topics WHERE id = 2;");
      await shows(page, ["one", "three"]);
      await node.sql("INSERT INTO topics (id, board_id, comment) VALUES (2, 1, 'back');");
      await shows(page, ["one", "back", "three"]);
      await node.sql("DELETE FROM topics WHERE id = 1; INSERT INTO topics (id, board_id, comment) VALUES (1, 1, 'first again');");
      await shows(page, ["first again", "back", "three"]);
      await node.kill();
      await node.restart();
      await node.post("after the crash");
      await shows(page, ["first again", "back", "three", "after the crash"]);
      await node.sql("DELETE FROM topics;");
      await shows(page, []);
      assert.deepEqual(page.complaints, []);
    } finally {
      await node.end();
    }
  });
}
