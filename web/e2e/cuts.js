// Six tabs that read and post behind a network that cuts, freezes, delays and answers 502: none loses its place, no post is lost or
// doubled, and at the end each list is the server's. As a program: node cuts.js [COUNT [SEED]]

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { BadNetwork } from "./bad-network.js";
import { Node, startChromium } from "./node.js";
import { ready } from "./tab.js";

const TABS = 6;
/** Half of the tabs read further down, where nothing may move, and the others post; then they change places. */
const READERS = TABS / 2;
/** The number of faults between two checks of everything. */
const ROUND = 50;
/** How long tabs may take until all is right again: the longest wait of the client is 30 s. */
const PATIENCE_MS = 90_000;
const SETTINGS = {
  BOARD__TOPICS_MAX: "120",
  STREAM__HEARTBEAT_S: "1",
  STREAM__RETRY_MIN_MS: "100",
  STREAM__RETRY_MAX_MS: "500",
  LIMITS__POSTS_PER_CLIENT_BURST: "100000",
  LIMITS__READS_PER_CLIENT_BURST: "100000",
  LIMITS__EDITS_PER_TOKEN_BURST: "100000",
};

/** The same seed makes the same choices. */
function randomOf(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** In the page: notes whatever a reader should never see. */
function watch() {
  window.faults = [];
  window.mine = [];
  window.gone = new Set();
  const fault = (text) => window.faults.length < 20 && window.faults.push(`${new Date().toISOString()} ${text}`);
  let before = new Map();
  const look = () => {
    const all = [...document.querySelectorAll("#topics > .topic")].map((row) => [row.id, row.querySelector(".comment")?.textContent ?? ""]);
    const texts = all.map(([, text]) => text);
    const doubled = texts.find((text, at) => texts.indexOf(text) !== at);
    if (doubled) fault(`twice: ${doubled}`);
    // What this tab posted is there from then on: as a post that is on its way, and then as a topic.
    for (const text of window.mine) if (!texts.includes(text)) fault(`own post not shown: ${text}`);
    const now = new Map(all);
    for (const id of before.keys()) if (!now.has(id) && /^topic-\d+$/.test(id)) window.gone.add(Number(id.slice(6)));
    // The oldest of a full list comes back where another one is deleted before it is archived.
    for (const [id] of all.slice(0, -5)) if (window.gone.has(Number(id.slice(6)))) fault(`came back: ${id}`);
    before = now;
  };
  document.addEventListener("DOMContentLoaded", () => new MutationObserver(look).observe(document.getElementById("topics"), { childList: true, subtree: true, characterData: true }));
}

/** In the page: writes and sends a post by the form. */
function send(text) {
  document.getElementById("comment").value = text;
  document.getElementById("post").requestSubmit();
  window.mine.push(text);
}

/** In the page: goes to a topic in the middle of the list, and returns which, and where it stands. */
function settleDown() {
  const rows = document.querySelectorAll("#topics > .topic");
  const row = rows[Math.floor(rows.length / 2)];
  row.scrollIntoView({ block: "center" });
  return { id: row.id, top: row.getBoundingClientRect().top };
}

class Run {
  figures = { posts: 0, "topics by others": 0, edits: 0, deletes: 0, "refused to others": 0, "longest until right again, ms": 0 };
  #posted = [];
  /** Topics of others, which are edited and deleted. */
  #others = [];
  #deleted = new Set();
  #n = 0;

  constructor({ node, network, tabs, admin, random, settings }) {
    Object.assign(this, { node, network, tabs, admin, random, settings });
  }

  #pick(all) {
    return all[Math.floor(this.random() * all.length)];
  }

  /** Makes one fault, and what happens on the board meanwhile. */
  async fault() {
    const { network, random } = this;
    const ms = 50 + random() * 450;
    const faults = [
      () => network.cut(),
      // One in eight is longer than three heartbeats, so that the tabs notice.
      () => network.freeze(random() < 0.125 ? 3_500 : ms),
      () => network.delay(2 * ms, ms / 2),
      () => network.refuse(ms),
      () => network.loseAnswer(),
    ];
    this.#pick(faults)();
    if (random() < 0.7) await this.#post(this.#pick(this.tabs.slice(READERS)));
    // A machine that is busy may make the server answer 503; what others write need not succeed.
    if (random() < 0.4) await this.#byOther().catch(() => (this.figures["refused to others"] += 1));
    await new Promise((resolve) => setTimeout(resolve, 50 + random() * 450));
  }

  async #post(tab) {
    const text = `post ${(this.#n += 1)}`;
    // A queue that is full says so; there is room again after a while.
    if ((await tab.locator("#topics .topic[data-state]").count()) >= 15) return;
    await tab.evaluate(send, text);
    this.#posted.push(text);
    this.figures.posts += 1;
  }

  async #byOther() {
    const chance = this.random();
    const at = Math.floor(this.random() * this.#others.length);
    if (chance < 0.6 || this.#others.length < 3) {
      const topic = await this.node.post(`topic ${(this.#n += 1)}`);
      this.#others = [...this.#others, topic].slice(-5);
      this.figures["topics by others"] += 1;
    } else if (chance < 0.8) {
      const { id } = this.#others[at];
      await this.node.api(this.admin, "PATCH", `boards/main/topics/${id}`, { comment: `topic ${(this.#n += 1)}, edited` });
      this.figures.edits += 1;
    } else {
      const [{ id }] = this.#others.splice(at, 1);
      this.#deleted.add(id);
      await this.node.api(this.admin, "DELETE", `boards/main/topics/${id}`);
      this.figures.deletes += 1;
    }
  }

  /** Half of the tabs read further down. */
  async readFurtherDown() {
    this.tabs = [...this.tabs.slice(READERS), ...this.tabs.slice(0, READERS)];
    // Older ones may leave a list that is full.
    await Promise.all(this.tabs.map((tab) => tab.evaluate(() => (window.mine = []))));
    this.places = await Promise.all(this.tabs.slice(0, READERS).map((tab) => tab.evaluate(settleDown)));
  }

  /** Mends the network, waits until all is right, and looks at everything. */
  async check() {
    this.network.mend();
    const began = Date.now();
    await Promise.all(this.tabs.map((tab) => tab.waitForFunction(() => document.getElementById("state").dataset.state === "live" && !document.querySelector("#topics [data-state]"), undefined, { timeout: PATIENCE_MS })));
    for (const [at, { id, top }] of this.places.entries()) {
      const now = await this.tabs[at].evaluate((id) => document.getElementById(id)?.getBoundingClientRect().top, id);
      assert.ok(Math.abs(now - top) < 2, `tab ${at} lost its place: ${id} stands at ${now} instead of ${top}`);
    }
    for (const tab of this.tabs) {
      await tab.evaluate(() => {
        scrollTo(0, 0);
        document.activeElement?.blur();
        document.getElementById("pill").click();
        document.activeElement?.blur();
      });
    }
    const { topics } = await (await fetch(`${this.node.url}/api/v1/boards/main/topics`)).json();
    // The digest is that of these.
    const wanted = topics.map(({ id, revision }) => `${id}@${revision}`).join(" ");
    for (const tab of this.tabs) {
      const isRight = (wanted) => [...document.querySelectorAll("#topics > .topic")].map((row) => `${row.id.slice(6)}@${row.dataset.revision}`).reverse().join(" ") === wanted;
      await tab.waitForFunction(isRight, wanted, { timeout: PATIENCE_MS });
      const { faults, gone } = await tab.evaluate(() => ({ faults: [...window.faults], gone: [...window.gone] }));
      const early = gone.filter((id) => id >= topics[0].id && !this.#deleted.has(id));
      assert.deepEqual([faults, early, tab.complaints], [[], [], []]);
    }
    const ms = "longest until right again, ms";
    this.figures[ms] = Math.max(this.figures[ms], Date.now() - began);
  }

  /** Each post is one topic, also among those that the list has no room for. */
  async count() {
    const times = new Map();
    for (let before = ""; ; ) {
      const page = await (await fetch(`${this.node.url}/api/v1/boards/main/topics?limit=100&before=${before || Number.MAX_SAFE_INTEGER}`)).json();
      for (const { comment } of page.topics) times.set(comment, (times.get(comment) ?? 0) + 1);
      before = Math.min(...page.topics.map(({ id }) => id));
      if (page.topics.length < 100) break;
    }
    const wrong = this.#posted.filter((text) => times.get(text) !== 1);
    assert.deepEqual(wrong, [], "each post is there once");
  }
}

/** @returns what was done, in figures */
export async function cuts({ count, seed, chromium, say = () => {} }) {
  const node = await Node.start(SETTINGS);
  const network = await BadNetwork.start(node);
  const context = await chromium.newContext({ locale: "en-GB", viewport: { width: 1280, height: 800 } });
  try {
    const admin = await node.createToken("admin", "cuts");
    for (let n = 0; n < 60; n += 1) await node.post(`before ${n}`);
    const tabs = [];
    for (let n = 0; n < TABS; n += 1) {
      const tab = await context.newPage();
      tab.complaints = [];
      tab.on("pageerror", (error) => tab.complaints.push(String(error)));
      await tab.addInitScript(watch);
      await tab.goto(network.url);
      await ready(tab);
      tabs.push(tab);
    }
    const run = new Run({ node, network, tabs, admin, random: randomOf(seed) });
    await run.readFurtherDown();
    for (let n = 1; n <= count; n += 1) {
      await run.fault();
      if (n % ROUND && n !== count) continue;
      await run.check();
      await run.readFurtherDown();
      say(`${n} faults: ${JSON.stringify({ ...run.figures, ...network.figures })}`);
    }
    await run.count();
    return { ...run.figures, ...network.figures };
  } finally {
    await context.close();
    network.end();
    await node.end();
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [count = 1_000, seed = Math.floor(Math.random() * 2 ** 31)] = process.argv.slice(2).map(Number);
  console.log(`${count} faults, seed ${seed}`);
  const chromium = await startChromium();
  const began = Date.now();
  try {
    await cuts({ count, seed, chromium, say: console.log });
    console.log(`all right after ${Math.round((Date.now() - began) / 1_000)} s`);
  } finally {
    await chromium.close();
  }
}
