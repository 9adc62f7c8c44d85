// Signing in and out in a real browser.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { Node, startChromium } from "./node.js";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** @type {import("playwright-core").Browser} */
let chromium;
/** @type {Node} */
let node;
/** @type {string} */
let admin;

before(async () => {
  [chromium, node] = await Promise.all([startChromium(), Node.start({ LIMITS__LOGINS_PER_MIN: "1000" })]);
  admin = await createToken("admin", "Ann, who looks after the board");
  await api("POST", "boards", { name: "secret", title: "Committee", read: "token", post: "token" });
  await api("POST", "boards/secret/topics", { comment: "For us alone" });
});
after(async () => {
  await chromium.close();
  await node.end();
});

/** @param {string} scope @param {string} name */
const createToken = (scope, name) => node.createToken(scope, name);
/** @param {string} method @param {string} path @param {object} [body] */
const api = (method, path, body) => node.api(admin, method, path, body);

/** Signs in on the way to the private board. @param {import("playwright-core").Page} page @param {string} token */
async function signIn(page, token) {
  await page.goto(`${node.url}/b/secret`);
  await page.click('.acts a[href*="login"]');
  await page.fill("#token", token);
  await page.click(".login .main");
}

test("without script one signs in, posts on a private board, and signs out", async () => {
  const context = await chromium.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await signIn(page, "guess");
  assert.match(await page.textContent("#token-fault"), /has expired or does not exist/);
  await page.fill("#token", admin);
  await page.click(".login .main");
  assert.equal(new URL(page.url()).pathname, "/b/secret");
  assert.match(await page.textContent("#topics"), /For us alone/);
  await page.fill("#comment", "Posted by form");
  await page.click("#post .main");
  assert.match(await page.textContent("#topics"), /Posted by form/);
  assert.match(await page.textContent(".bar .who"), /Ann/);
  const [cookie] = await context.cookies();
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.secure], [true, "Lax", false]);
  await page.click(".bar .session button");
  assert.equal((await page.textContent("h1")).trim(), "There is nothing at this address");
  assert.deepEqual(await context.cookies(), []);
  await context.close();
});

test("a private board is live; where its session ends elsewhere it ends here, and Back shows nothing of it", async () => {
  const context = await chromium.newContext();
  const page = await context.newPage();
  await signIn(page, await createToken("read", "hall"));
  await page.waitForSelector('#state[data-state="live"]');
  await api("POST", "boards/secret/topics", { comment: "While you look" });
  await page.waitForFunction(() => document.querySelector("#topics")?.textContent.includes("While you look"));
  const ended = page.waitForFunction(() => document.querySelector("#state")?.getAttribute("data-state") !== "live", undefined, { timeout: 1000 });
  const { sessions } = await api("GET", "sessions");
  await api("DELETE", `sessions/${sessions.find((session) => session.name === "hall").id}`);
  await ended;
  await page.goto(`${node.url}/boards`);
  assert.doesNotMatch(await page.textContent("main"), /Committee/);
  await page.goBack();
  assert.doesNotMatch(await page.content(), /For us alone|Committee/);
  await context.close();
});

test("axe finds nothing on the pages of one who is signed in, and they fit", async () => {
  for (const locale of ["en-GB", "ja-JP"]) {
    const context = await chromium.newContext({ locale, bypassCSP: true, reducedMotion: "reduce" });
    const page = await context.newPage();
    await signIn(page, admin);
    for (const path of ["/b/secret", "/boards", "/b/nothing", "/login"]) {
      await page.goto(node.url + path);
      await page.evaluate(axe);
      for (const width of [320, 390, 800, 1280]) {
        await page.setViewportSize({ width, height: 900 });
        const { violations, over } = await page.evaluate(async () => {
          const found = await globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
          return {
            violations: found.violations.map((one) => `${one.id}: ${one.nodes.map((at) => at.html.slice(0, 160)).join(" | ")}`),
            over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
          };
        });
        assert.deepEqual(violations, [], `${path} at ${width}`);
        assert.equal(over, 0, `${path} at ${width}`);
      }
    }
    await context.close();
  }
});
