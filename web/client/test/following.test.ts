import assert from "node:assert/strict";
import { test } from "node:test";
import { digest } from "../src/digest.js";
import { World } from "./world.js";

async function followed(options = {}) {
  const world = new World();
  const tab = world.tab(options);
  tab.follow();
  await world.clock.pass(200);
  return { world, tab, server: world.server, clock: world.clock };
}

test("it shows the list, then each change, and says live", async () => {
  const { tab, server, clock } = await followed();
  assert.equal(tab.status, "live");
  server.post("one");
  const two = server.post("two");
  await clock.pass(10);
  assert.deepEqual(tab.shown, ["one", "two"]);
  server.delete(two.id);
  await clock.pass(10);
  assert.deepEqual(tab.shown, ["one"]);
});

test("the state is the same object until something changes", async () => {
  const { world, tab, server } = await followed();
  const board = tab.client.board("main");
  server.post("one");
  await world.clock.pass(10);
  const before = board.getSnapshot();
  await world.beat(30_000);
  assert.equal(board.getSnapshot(), before);
  server.post("two");
  await world.clock.pass(10);
  assert.notEqual(board.getSnapshot(), before);
  assert.equal(
    board.getSnapshot().topics[0],
    before.topics[0],
    "a topic that did not change is the same",
  );
});

test("it begins at the list of the page, without a snapshot", async () => {
  const world = new World();
  const { server } = world;
  server.post("rendered");
  const page = { cursor: server.cursor(), topics: server.topics("main") };
  server.post("meanwhile");
  const tab = world.tab();
  const board = tab.client.board("main", page);
  assert.deepEqual(
    board.getSnapshot().topics.map(({ comment }) => comment),
    ["rendered"],
  );
  tab.follow();
  await world.clock.pass(200);
  assert.deepEqual(server.opened, [
    `/b/main/stream?format=patch&heartbeat=event&last_event_id=${page.cursor}`,
  ]);
  assert.deepEqual([tab.shown, tab.status], [["rendered", "meanwhile"], "live"]);
});

test("it asks for the list again when the digest differs", async () => {
  const { tab, server, clock } = await followed();
  server.post("one");
  await clock.pass(10);
  const [stream] = server.streams;
  const topic = { ...server.topics("main")[0]!, comment: "wrong", revision: 99 };
  stream?.send(
    "patch",
    { board: "main", from: 2, revision: 99, digest: digest([]), ops: [{ op: "set", topic }] },
    "e1-99",
  );
  await clock.pass(2_000);
  assert.deepEqual([tab.shown, tab.status, server.opened.length], [["one"], "live", 2]);
  assert.equal(server.opened[1], "/b/main/stream?format=patch&heartbeat=event", "without a cursor");
});

test("a server whose digests are always wrong is not asked without pause", async () => {
  const { server, clock } = await followed();
  server.post("one");
  const opened = server.opened.length;
  const greet = server.greet.bind(server);
  server.greet = (stream) => {
    greet(stream);
    stream.send(
      "snapshot",
      { board: "main", revision: 9, digest: "0".repeat(16), topics: server.topics("main") },
      "e1-9",
    );
  };
  for (const stream of server.streams) stream.break();
  await clock.pass(120_000);
  assert.ok(server.opened.length - opened < 30, `${server.opened.length - opened} attempts`);
});

test("what is no JSON is not a list", async () => {
  const { tab, server, clock } = await followed();
  server.post("one");
  await clock.pass(10);
  const parse = JSON.parse;
  const [stream] = server.streams;
  JSON.parse = () => {
    throw new SyntaxError("broken");
  };
  stream?.send("patch", {});
  JSON.parse = parse;
  await clock.pass(2_000);
  assert.deepEqual([tab.shown, tab.status], [["one"], "live"]);
});

test("three heartbeats that are missing end a silent connection", async () => {
  const { world, tab, server, clock } = await followed();
  await world.beat(60_000);
  assert.equal(server.opened.length, 1, "heartbeats keep it");
  for (const stream of server.streams) stream.silent = true;
  server.post("unheard");
  await clock.pass(44_000);
  assert.deepEqual([tab.shown, server.opened.length], [[], 1]);
  await clock.pass(2_000);
  assert.deepEqual([tab.shown, tab.status, server.opened.length], [["unheard"], "live", 2]);
});

test("a server that crashed: first the browser comes back, then we do, later and later", async () => {
  const { tab, server, clock } = await followed();
  server.crash();
  await clock.pass(10);
  assert.deepEqual(tab.client.board("main").getSnapshot().status, {
    name: "reconnecting",
    at: null,
  });
  await clock.pass(8_000);
  const { status } = tab.client.board("main").getSnapshot();
  assert(status.name === "reconnecting" && status.at !== null && status.at > clock.now - 1);
  const opened = server.opened.length;
  await clock.pass(300_000);
  const attempts = server.opened.length - opened;
  assert.ok(attempts >= 5 && attempts < 40, `${attempts} attempts in 5 minutes`);
  server.up = true;
  server.post("meanwhile");
  await clock.pass(31_000);
  assert.deepEqual([tab.shown, tab.status], [["meanwhile"], "live"]);
});

test("where the browser gives up, it comes back", async () => {
  const { tab, server, clock } = await followed();
  server.statuses = [502, 502];
  for (const stream of server.streams) stream.break();
  server.post("meanwhile");
  await clock.pass(20_000);
  assert.deepEqual([tab.shown, tab.status], [["meanwhile"], "live"]);
});

test("a board that is deleted ends, says so and clears what it showed", async () => {
  const { tab, server, clock } = await followed();
  server.post("one");
  await clock.pass(10);
  server.end("main", "gone");
  await clock.pass(10);
  const { topics, loaded, status } = tab.client.board("main").getSnapshot();
  assert.deepEqual(
    [topics, loaded, status],
    [[], false, { name: "ended", why: "gone", detail: null }],
  );
  const opened = server.opened.length;
  await clock.pass(100_000);
  assert.equal(server.opened.length, opened, "for good");
});

test("a board that was deleted while it was away ends with the server's sentence", async () => {
  const { tab, server, clock } = await followed();
  server.boards.delete("main");
  for (const stream of server.streams) stream.break();
  await clock.pass(10_000);
  const { status } = tab.client.board("main").getSnapshot();
  assert.deepEqual(status, { name: "ended", why: "gone", detail: "no board is named main" });
});

test("one of several boards ends, the others go on", async () => {
  const { tab, server, clock } = await followed();
  server.boards.set("other", new Map());
  tab.follow("other");
  await clock.pass(200);
  assert.equal(server.streams.size, 1);
  server.end("other", "auth");
  server.post("still here");
  await clock.pass(1_000);
  assert.equal(tab.client.board("other").getSnapshot().status.name, "ended");
  assert.deepEqual([tab.shown, tab.status], [["still here"], "live"]);
});

/** A page that follows the boards main and other, each with a topic. */
async function two() {
  const page = await followed();
  const { tab, server, clock } = page;
  server.boards.set("other", new Map());
  server.post("on other", "other");
  const stop = tab.client.board("other").subscribe(() => {});
  await clock.pass(200);
  const other = () => {
    const { topics, status } = tab.client.board("other").getSnapshot();
    return [topics.map(({ comment }) => comment), status.name, "why" in status && status.why];
  };
  return { ...page, other, stop };
}

test("a board that ended shows nothing any more, also when the browser comes back", async () => {
  const { tab, server, clock, other } = await two();
  assert.deepEqual(other(), [["on other"], "live", false]);
  server.end("other", "auth");
  await clock.pass(10);
  assert.deepEqual(other(), [[], "ended", "auth"]);
  for (const stream of [...server.streams]) stream.break();
  server.post("meanwhile");
  await clock.pass(5_000);
  // It says that the board is gone, which the page knows.
  assert.deepEqual(other(), [[], "ended", "auth"]);
  assert.deepEqual([tab.shown, tab.status, server.opened.length], [["meanwhile"], "live", 2]);
  server.post("and then");
  await clock.pass(10);
  assert.deepEqual(tab.shown, ["meanwhile", "and then"]);
});

test("a board that is made again is shown once it is followed again, and whole", async () => {
  const { world, tab, server, clock, other, stop } = await two();
  server.end("other", "gone");
  server.boards.set("other", new Map());
  server.post("of another", "other");
  for (const stream of [...server.streams]) stream.break();
  await clock.pass(5_000);
  assert.equal(server.opened.length, 2, "the browser came back by itself");
  server.post("more of it", "other");
  await clock.pass(10);
  assert.deepEqual(other(), [[], "ended", "gone"]);
  stop();
  await world.beat(30_000);
  tab.follow("other");
  await clock.pass(500);
  assert.deepEqual(other(), [["of another", "more of it"], "live", false]);
  server.post("still here");
  await clock.pass(10);
  assert.deepEqual([tab.shown, tab.status], [["still here"], "live"]);
});

test("with its last board the stream ends", async () => {
  const { tab, server, clock, other } = await two();
  server.end("other", "gone");
  server.end("main", "auth");
  await clock.pass(60_000);
  assert.deepEqual([other()[1], tab.status, server.streams.size], ["ended", "ended", 0]);
  assert.equal(server.opened.length, 2);
});

test("a bye that does not say which of several boards it is for ends only that one", async () => {
  const { tab, server, clock } = await followed();
  server.boards.set("other", new Map());
  tab.follow("other");
  await clock.pass(200);
  server.boards.delete("other");
  for (const stream of [...server.streams]) {
    stream.send("bye", { reason: "gone" });
    stream.break();
  }
  server.post("still here");
  await clock.pass(5_000);
  assert.equal(tab.client.board("other").getSnapshot().status.name, "ended");
  assert.deepEqual([tab.shown, tab.status], [["still here"], "live"]);
});

test("a planned end is not shown as a loss", async () => {
  const { tab, server, clock } = await followed();
  const seen = new Set<string>();
  tab.client.board("main").subscribe(() => seen.add(tab.status));
  for (const stream of [...server.streams]) {
    stream.send("bye", { reason: "rotate" });
    stream.break();
  }
  server.post("meanwhile");
  await clock.pass(5_000);
  assert.deepEqual([tab.shown, [...seen], server.opened.length], [["meanwhile"], ["live"], 1]);
});

test("a refusal with a long wait is left to the browser, which knows the wait", async () => {
  const { tab, server, clock } = await followed();
  const greet = server.greet.bind(server);
  let refused = 0;
  server.greet = (stream) => {
    refused++;
    stream.send("bye", { reason: "limit" });
    setImmediate(() => stream.break());
  };
  for (const stream of [...server.streams]) stream.break();
  await clock.pass(10_000);
  assert.equal(tab.status, "reconnecting");
  tab.signal("visible");
  await clock.pass(10);
  assert.deepEqual([server.opened.length, refused], [1, 3]);
  server.greet = greet;
  await clock.pass(4_000);
  assert.equal(tab.status, "live");
});

test("stale and fresh are said as the server says them", async () => {
  const { tab, server, clock } = await followed();
  for (const stream of server.streams) stream.send("stale", { since: "2026-01-01T12:04:00Z" });
  await clock.pass(10);
  const { status } = tab.client.board("main").getSnapshot();
  assert.deepEqual(status, { name: "stale", since: "2026-01-01T12:04:00Z" });
  for (const stream of server.streams) stream.send("fresh", {});
  await clock.pass(10);
  assert.equal(tab.status, "live");
});

test("what was stale before a connection was lost is not said of the next one", async () => {
  const { tab, server, clock } = await followed();
  for (const stream of server.streams) stream.send("stale", { since: "2026-01-01T12:04:00Z" });
  await clock.pass(10);
  for (const stream of [...server.streams]) stream.break();
  await clock.pass(4_000);
  assert.equal(tab.status, "live");
});

test("another epoch begins with its list", async () => {
  const { tab, server, clock } = await followed();
  server.post("of the old history");
  await clock.pass(10);
  server.epoch = "e2";
  server.revision = 1;
  server.boards.set("main", new Map());
  server.log = [];
  for (const stream of [...server.streams]) stream.break();
  await clock.pass(4_000);
  assert.deepEqual([tab.shown, tab.status], [[], "live"]);
  server.post("of the new one");
  await clock.pass(10);
  assert.deepEqual(tab.shown, ["of the new one"]);
});

test("after a reset nothing goes on from what was there", async () => {
  const { tab, server, clock } = await followed();
  server.post("shown until the list comes");
  await clock.pass(1_000);
  for (const stream of server.streams) stream.send("reset", { reason: "epoch" }, "");
  await clock.pass(10);
  assert.deepEqual(tab.shown, ["shown until the list comes"]);
  tab.client.retry();
  await clock.pass(50);
  assert.equal(server.opened.at(-1), "/b/main/stream?format=patch&heartbeat=event");
});

test("offline is said at once, and the network's return is used at once", async () => {
  const { tab, server, clock } = await followed();
  tab.signal("offline");
  for (const stream of [...server.streams]) stream.break();
  await clock.pass(60_000);
  assert.equal(tab.status, "offline");
  const attempts = server.opened.length;
  while (server.opened.length === attempts) await clock.pass(100);
  server.post("meanwhile");
  tab.signal("online");
  await clock.pass(50);
  assert.deepEqual([tab.shown, tab.status], [["meanwhile"], "live"]);
});

test("a page that is shown again looks at once whether it is up to date", async () => {
  const { tab, server, clock } = await followed();
  for (const stream of server.streams) stream.silent = true;
  server.post("unheard");
  tab.signal("hidden");
  await clock.pass(30_000);
  tab.signal("visible");
  await clock.pass(50);
  assert.deepEqual([tab.shown, tab.status], [["unheard"], "live"]);
});

test("more boards than one stream may name are followed by a second stream", async () => {
  const { tab, server, clock } = await followed({ boardsPerStream: 2 });
  for (const board of ["b", "c"]) {
    server.boards.set(board, new Map());
    tab.follow(board);
  }
  await clock.pass(500);
  assert.equal(server.streams.size, 2);
  for (const board of ["main", "b", "c"]) server.post(`on ${board}`, board);
  await clock.pass(10);
  for (const board of ["main", "b", "c"]) {
    const { topics, status } = tab.client.board(board).getSnapshot();
    assert.deepEqual(
      [topics.map(({ comment }) => comment), status.name],
      [[`on ${board}`], "live"],
    );
  }
});
