// A short run of cuts.js, which scripts/cuts runs for long.

import { test } from "node:test";
import { cuts } from "./cuts.js";
import { startChromium } from "./node.js";

test("six tabs behind a network that cuts, freezes, delays and answers 502 lose and double nothing", async (context) => {
  const seed = Number(process.env.KAIRANBAN_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
  context.diagnostic(`seed ${seed}`);
  const chromium = await startChromium();
  try {
    context.diagnostic(JSON.stringify(await cuts({ count: 30, seed, chromium })));
  } finally {
    await chromium.close();
  }
});
