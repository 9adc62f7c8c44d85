// The states of the board page: none has a finding of axe, in either language and scheme, on a phone or a desk.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { Node, startChromium } from "./node.js";
import { STATES } from "./states.js";
import { openTab, ready } from "./tab.js";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
/** @type {import("playwright-core").Browser} */
let chromium;
before(async () => (chromium = await startChromium()));
after(() => chromium.close());

for (const locale of ["en-GB", "ja-JP"]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`axe finds nothing in any state of a board, in ${locale}, ${colorScheme}`, async () => {
      for (const [name, prepare] of Object.entries(STATES)) {
        const node = await Node.start();
        const context = await chromium.newContext({ locale, colorScheme, bypassCSP: true, reducedMotion: "reduce", viewport: { width: 1280, height: 800 } });
        try {
          for (let n = 1; n <= 12; n += 1) await node.post(`topic ${n}`);
          const page = await openTab(context, node.url);
          await ready(page);
          await prepare({ page, node, context });
          await page.evaluate(axe);
          for (const width of [320, 1280]) {
            await page.setViewportSize({ width, height: 800 });
            const found = await page.evaluate((runOnly) => globalThis.axe.run(document, { runOnly }), RULES);
            const violations = found.violations.map((violation) => `${violation.id}: ${violation.nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`);
            assert.deepEqual(violations, [], `${name} at ${width}`);
            const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
            assert.ok(wide <= 0, `${name} at ${width} is ${wide} px too wide`);
          }
        } finally {
          await context.close();
          await node.end();
        }
      }
    });
  }
}
