// What pages of other origins can do in the browser of one who is signed in: nothing by the session, not even those that the
// server shares its answers with. An embedded element reads open boards, and a private one with a ticket.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Node, startChromium } from "./node.js";
import { Relay } from "./relay.js";

// Another site, at the relay's address.
const OTHER = "evil.test";

/** @type {import("playwright-core").Browser} */
let chromium;
before(async () => (chromium = await startChromium([`--host-resolver-rules=MAP ${OTHER} 127.0.0.1`])));
after(() => chromium.close());

/** A private board, a browser that is signed in to it, and a page of another origin in that browser. */
async function withOrigins(story) {
  // One is the board's own address, the other that of pages of others.
  const [own, relay] = [await Relay.start(), await Relay.start()];
  const origins = [`http://${OTHER}:${relay.port}`, relay.url];
  const node = (own.node = relay.node = await Node.start({ SERVER__HOSTS: OTHER, CORS__ORIGINS: origins.join(), LIMITS__LOGINS_PER_MIN: "1000", STREAM__RETRY_MIN_MS: "100", STREAM__RETRY_MAX_MS: "200" }));
  try {
    const admin = await node.createToken("admin", "Ann");
    await node.api(admin, "POST", "boards", { name: "secret", read: "token", post: "token" });
    await node.api(admin, "POST", "boards/secret/topics", { comment: "For us alone" });
    const context = await chromium.newContext();
    const page = await context.newPage();
    await page.goto(`${own.url}/login?next=/b/secret`);
    await page.fill("#token", admin);
    await page.click(".login .main");
    await page.getByText("For us alone").waitFor();
    // Otherwise what it loads later is counted with the requests of the other pages.
    await page.goto("about:blank");
    await story({ node, own, relay, origins, admin, context, page });
  } finally {
    await Promise.all(chromium.contexts().map((context) => context.close()));
    own.end();
    relay.end();
    await node.end();
  }
}

/** Opens a page with this markup. */
async function visit({ context, relay }, origin, markup = "") {
  relay.page = `<!doctype html><html lang="en"><meta charset="utf-8"><title>another</title>${markup}`;
  const page = await context.newPage();
  await page.goto(`${origin}/embedding`);
  return page;
}

/** Whether the browser is still signed in as before, and the board is as it was. */
async function isUntouched({ node, own, admin, page, context }, cookies) {
  assert.deepEqual(await context.cookies(), cookies);
  await page.goto(`${own.url}/b/secret`);
  assert.deepEqual(await page.locator("#topics .comment").allTextContents(), ["For us alone"]);
  assert.equal(await page.locator(".bar .session .who").innerText(), "Signed in with the token\nAnn");
  const { tokens } = await node.api(admin, "GET", "tokens");
  assert.deepEqual(tokens.map(({ name }) => name), ["Ann"]);
}

test("forms of other origins neither sign in nor out, nor post", () =>
  withOrigins(async (all) => {
    const { node, own, origins, context } = all;
    const cookies = await context.cookies();
    const guest = await node.createToken("read", "of the attacker");
    for (const origin of origins) {
      for (const [path, fields] of [
        ["/login?next=/", { token: guest, keep: "1" }],
        ["/logout", {}],
        ["/b/secret", { comment: "forged" }],
      ]) {
        const inputs = Object.entries(fields).map(([name, value]) => `<input name="${name}" value="${value}">`);
        const page = await visit(all, origin, `<form method="post" action="${own.url}${path}">${inputs.join("")}<button>Win</button></form>`);
        const answered = page.waitForResponse(`${own.url}${path}`);
        await page.click("button");
        const answer = await answered;
        // For a site that may post as anyone may, there is no such board.
        assert.equal(answer.status(), path === "/b/secret" ? 404 : 403, `${path} from ${origin}`);
        assert.equal(await answer.headerValue("set-cookie"), null);
        await page.close();
      }
    }
    await node.sql("DELETE FROM tokens WHERE scope = 'read';");
    await isUntouched(all, cookies);
  }));

/** In the page: asks in every way that takes cookies along, and returns the outcome of each. */
function attack(url) {
  const settled = async (name, work) => [name, await work.then((said) => said, () => "refused")];
  const ask = (path, init) => fetch(url + path, { credentials: "include", ...init }).then((answer) => answer.text());
  const heard = (target, names) =>
    new Promise((resolve, reject) => {
      for (const name of names) target.addEventListener(name, (event) => resolve(`${name} ${event.data ?? ""}`));
      target.onerror = () => reject(target.close());
    });
  const json = { "Content-Type": "application/json" };
  const plain = { mode: "no-cors", method: "POST", body: '{"comment":"forged"}' };
  return Promise.all([
    settled("list", ask("/api/v1/boards/secret/topics")),
    settled("page", ask("/b/secret")),
    settled("tokens", ask("/api/v1/tokens")),
    settled("post", ask("/api/v1/boards/secret/topics", { method: "POST", body: '{"comment":"forged"}', headers: json })),
    settled("blind post", ask("/api/v1/boards/secret/topics", plain)),
    settled("blind form", ask("/b/secret", { ...plain, body: new URLSearchParams({ comment: "forged" }) })),
    settled("blind logout", ask("/logout", { ...plain, body: "" })),
    settled("stream", heard(new EventSource(`${url}/b/secret/stream?format=patch`, { withCredentials: true }), ["snapshot", "patch", "message"])),
    settled("socket", heard(new WebSocket(`${url.replace("http", "ws")}/b/secret/ws`), ["open", "message"])),
  ]);
}

test("no request of another origin's page counts as the session's, also where the browser sends the cookie along", () =>
  withOrigins(async (all) => {
    const { own, origins, context } = all;
    const cookies = await context.cookies();
    for (const [at, origin] of origins.entries()) {
      own.withCookie = [];
      const page = await visit(all, origin, `<iframe src="${own.url}/b/secret"></iframe>`);
      const came = Object.fromEntries(await page.evaluate(attack, own.url));
      for (const [what, said] of Object.entries(came)) assert.match(said, /^(refused)?$/, `${what} from ${origin}`);
      // Browsers send a cookie to every port of a host, and by SameSite=Lax from no other site.
      const topics = "/api/v1/boards/secret/topics";
      const sent = [topics, "/b/secret", "/b/secret", "/api/v1/tokens", topics, "/b/secret", "/logout", "/b/secret/stream?format=patch", "/b/secret/ws"];
      assert.deepEqual(own.withCookie.toSorted(), at === 1 ? sent.toSorted() : [], `with cookies, from ${origin}`);
      const frame = page.frames().find((frame) => frame !== page.mainFrame());
      assert.doesNotMatch(await frame.content(), /For us alone/);
      await page.close();
    }
    await isUntouched(all, cookies);
  }));

test("a person who follows a link from another site is signed in", () =>
  withOrigins(async (all) => {
    const page = await visit(all, all.origins[0], `<a href="${all.own.url}/b/secret">To the board</a>`);
    await page.click("a");
    await page.getByText("For us alone").waitFor();
  }));

const texts = (page) => page.locator("kairanban-board [part=text]").allTextContents();
const isAt = (page, state) => page.locator(`kairanban-board [part=state][data-state="${state}"]`).waitFor();
const shows = (page, text) => page.locator("kairanban-board [part=text]", { hasText: text }).waitFor();
const element = (relay, markup) => `<script type="module" src="${relay.url}/dist/element.js"></script>${markup}`;

test("an element on another site reads an open board, and by a session nothing", () =>
  withOrigins(async (all) => {
    const { node, relay, origins } = all;
    await node.post("open to all");
    const both = '<kairanban-board board="main"></kairanban-board><kairanban-board board="secret"></kairanban-board>';
    const page = await visit(all, origins[0], element(relay, both));
    await shows(page, "open to all");
    await isAt(page, "ended");
    assert.deepEqual(await texts(page), ["open to all"]);
  }));

test("an element on another site reads a private board with a ticket, until its token ends", () =>
  withOrigins(async (all) => {
    const { node, relay, origins, admin } = all;
    const guest = await node.createToken("read", "hall");
    const ticket = async () => (await node.api(guest, "POST", "tickets", { board: "secret" })).ticket;
    const page = await visit(all, origins[0], element(relay, `<kairanban-board board="secret" ticket="${await ticket()}"></kairanban-board>`));
    await isAt(page, "live");
    assert.deepEqual(await texts(page), ["For us alone"]);
    assert.equal(await page.locator("kairanban-board form").count(), 0, "it cannot post");
    relay.cut();
    await node.api(admin, "POST", "boards/secret/topics", { comment: "meanwhile" });
    await shows(page, "meanwhile");
    // Where the browser gives up, the ticket is tried, and is still good.
    relay.refused = 1;
    relay.cut();
    await node.api(admin, "POST", "boards/secret/topics", { comment: "and on" });
    await shows(page, "and on");
    await isAt(page, "live");
    const { tokens } = await node.api(admin, "GET", "tokens");
    await node.api(admin, "DELETE", `tokens/${tokens.find(({ name }) => name === "hall").id}`);
    await isAt(page, "ended");
    assert.deepEqual(await texts(page), []);
    // A ticket that is invalid ends it, too.
    await page.evaluate(() => document.querySelector("kairanban-board").setAttribute("ticket", "guessed"));
    await isAt(page, "ended");
  }));
