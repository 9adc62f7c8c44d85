// A bare EventSource behind nginx, as somebody would put it there: it comes back by itself, and goes on exactly.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
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
       server {
         listen 127.0.0.1:${port};
         location / { proxy_pass ${node.url}; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; }
         location ~ stream {
           proxy_pass ${node.url}; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
           error_page 502 503 504 =200 @later;
         }
         location @later { default_type text/event-stream; return 200 "retry: 100\\n\\n"; }
       }
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
        // It comes back while nobody is there, and is told to come again.
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
