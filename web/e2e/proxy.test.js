// A bare EventSource behind nginx, as an operator would run it: it reconnects by itself, and misses nothing.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Node, startChromium } from "./node.js";

/** @type {import("playwright-core").Browser} */
let chromium;
before(async () => (chromium = await startChromium()));
after(() => chromium.close());

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

/** The recipe of docs/API.md, for a node and a port of our own. */
async function recipe(node, port) {
  const page = await readFile(new URL("../../docs/API.md", import.meta.url), "utf8");
  const text = /```nginx\n([^]*?)```/.exec(page)?.[1];
  assert.ok(text, "docs/API.md has no recipe for nginx");
  const ours = [["listen 80;", `listen 127.0.0.1:${port};`], ["http://127.0.0.1:8080", node.url], ["retry: 3000", "retry: 100"]];
  return ours.reduce((text, [from, to]) => {
    assert.ok(text.includes(from), `the recipe has no ${from}`);
    return text.replaceAll(from, to);
  }, text);
}

/** nginx before a node, as docs/API.md has it. */
async function startNginx(node, gzip) {
  const folder = await mkdtemp(join(tmpdir(), "kairanban-nginx-"));
  const port = await freePort();
  await writeFile(
    join(folder, "nginx.conf"),
    `daemon off; pid ${folder}/pid; error_log ${folder}/error.log; worker_processes 1;
     events { worker_connections 256; }
     http {
       access_log off; client_body_temp_path ${folder}; proxy_temp_path ${folder};
       fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
       gzip ${gzip}; gzip_types text/event-stream application/json; gzip_min_length 0; gzip_proxied any;
       ${await recipe(node, port)}
     }`,
  );
  const nginx = spawn("nginx", ["-c", join(folder, "nginx.conf"), "-p", folder], { stdio: "inherit" });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries += 1) {
    const answer = await fetch(`${url}/livez`).catch(() => undefined);
    if (answer?.ok) break;
    assert.ok(tries < 200, "nginx does not answer");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const end = async () => {
    nginx.kill("SIGTERM");
    await once(nginx, "exit");
    await rm(folder, { recursive: true });
  };
  return { url, end };
}

/** Follows a board in the page by the rules of docs/PROTOCOL.md, and notes whatever breaks them. */
function follow(path) {
  const state = { revision: 0, topics: new Map(), comments: [], faults: [], opened: 0, lists: 0 };
  Object.assign(window, { state });
  const source = new EventSource(path);
  const show = () => (state.comments = [...state.topics.entries()].sort(([a], [b]) => a - b).map(([, topic]) => topic.comment));
  source.onopen = () => (state.opened += 1);
  source.addEventListener("snapshot", (event) => {
    const data = JSON.parse(event.data);
    state.lists += 1;
    if (data.revision < state.revision) state.faults.push(`the revision fell from ${state.revision} to ${data.revision}`);
    state.revision = data.revision;
    state.topics = new Map(data.topics.map((topic) => [topic.id, topic]));
    show();
  });
  source.addEventListener("patch", (event) => {
    const data = JSON.parse(event.data);
    if (!(data.from <= state.revision && state.revision < data.revision)) state.faults.push(`${data.from}..${data.revision} at ${state.revision}`);
    state.revision = data.revision;
    for (const op of data.ops) op.op === "set" ? state.topics.set(op.topic.id, op.topic) : state.topics.delete(op.id);
    show();
  });
  source.addEventListener("reset", (event) => state.faults.push(`reset ${event.data}`));
}

for (const [gzip, query] of [["off", ""], ["on", ""], ["on", "&compress=gzip"]]) {
  test(`an EventSource goes on exactly after kill -9, through nginx with gzip ${gzip} ${query}`, async () => {
    const node = await Node.start({ STREAM__RETRY_MIN_MS: "50", STREAM__RETRY_MAX_MS: "100" });
    const nginx = await startNginx(node, gzip);
    try {
      await node.post("before");
      const page = await (await chromium.newContext()).newPage();
      await page.goto(`${nginx.url}/livez`);
      await page.evaluate(follow, `/b/main/stream?format=patch${query}`);
      const shows = (expected) =>
        page.waitForFunction((expected) => JSON.stringify(window.state.comments) === JSON.stringify(expected), expected, { timeout: 10_000 });
      await shows(["before"]);
      const expected = ["before"];
      for (let round = 0; round < 3; round += 1) {
        await node.post(`live ${round}`);
        expected.push(`live ${round}`);
        await shows(expected);
        const opened = await page.evaluate(() => window.state.opened);
        await node.kill();
        // It reconnects while the server is away, and nginx asks it to try again.
        await page.waitForFunction((opened) => window.state.opened > opened, opened, { timeout: 10_000 });
        // By another program, while the server is dead.
        await node.sql(`INSERT INTO topics (board_id, comment) VALUES (1, 'missed ${round}');`);
        expected.push(`missed ${round}`);
        await node.restart();
        await shows(expected);
      }
      const { faults, lists, opened } = await page.evaluate(() => window.state);
      assert.deepEqual(faults, []);
      assert.equal(lists, 1, "what was missed came as patches");
      assert.ok(opened >= 4, "it came back each time");
    } finally {
      await nginx.end();
      await node.end();
    }
  });
}

/** Asks through nginx, from one of this machine's addresses. Returns the status and the beginning of the answer. */
function ask(nginx, from, method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const asking = request(`${nginx.url}${path}`, { method, headers, localAddress: from, agent: false });
    asking.on("error", reject);
    // A stream stays open until the test ends it.
    const answered = (answer, begun) => resolve({ status: answer.statusCode, begun, end: () => asking.destroy() });
    asking.on("upgrade", (answer, socket) => {
      socket.on("error", () => {});
      answered(answer, "");
    });
    asking.on("response", (answer) => {
      answer.on("error", () => {});
      answer.once("data", (begun) => answered(answer, String(begun)));
      answer.once("end", () => answered(answer, ""));
    });
    asking.end(body);
  });
}

test("a forged X-Forwarded-For changes nothing: the client's own address is counted", async () => {
  const node = await Node.start({
    LIMITS__TRUSTED_PROXIES: "127.0.0.1/32",
    LIMITS__POSTS_PER_CLIENT_BURST: "3",
    LIMITS__STREAMS_PER_CLIENT_MAX: "2",
  });
  const nginx = await startNginx(node, "off");
  const forged = (n) => ({ "X-Forwarded-For": `203.0.113.${n}`, "Content-Type": "text/plain" });
  const socket = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" };
  const open = [];
  try {
    const statuses = [];
    for (let n = 1; n <= 5; n += 1) statuses.push((await ask(nginx, "127.0.0.2", "POST", "/b/main", forged(n), `post ${n}`)).status);
    assert.deepEqual(statuses.slice(0, 3), [201, 201, 201]);
    assert.ok(statuses.slice(3).includes(429), `five posts were answered ${statuses}`);
    // Another client has a quota of its own.
    assert.equal((await ask(nginx, "127.0.0.3", "POST", "/b/main", forged(9), "another")).status, 201);

    for (let n = 1; n <= 3; n += 1) open.push(await ask(nginx, "127.0.0.4", "GET", "/b/main/stream", forged(n)));
    assert.deepEqual(open.map(({ begun }) => begun.includes("limit")), [false, false, true], "the third stream has no room");
    for (let n = 1; n <= 3; n += 1) open.push(await ask(nginx, "127.0.0.5", "GET", "/b/main/ws", { ...forged(n), ...socket }));
    assert.deepEqual(open.slice(3).map(({ status }) => status), [101, 101, 429]);
  } finally {
    open.forEach(({ end }) => end());
    await nginx.end();
    await node.end();
  }
});
