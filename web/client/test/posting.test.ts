import assert from "node:assert/strict";
import { test } from "node:test";
import { World } from "./world.js";

async function followed(storage?: Map<string, string>) {
  const world = new World();
  const tab = world.tab({}, storage);
  tab.follow();
  await world.clock.pass(200);
  const board = tab.client.board("main");
  return { world, tab, board, server: world.server, clock: world.clock };
}
const problem = (status: number, code: string, detail: string, headers = {}) =>
  Response.json({ status, code, detail, errors: [] }, { status, headers });

test("a post is shown at once, and never beside its topic", async () => {
  const { board, server, clock } = await followed();
  const seen: string[][] = [];
  board.subscribe(() => {
    const { topics, posts } = board.getSnapshot();
    seen.push([...topics, ...posts].map(({ comment }) => comment.trim()));
  });
  const key = board.post(" hello ", "Sato");
  assert(key);
  assert.deepEqual(
    board.getSnapshot().posts.map(({ key, state }) => [key, state]),
    [[key, "sending"]],
  );
  await clock.pass(100);
  assert.deepEqual(board.getSnapshot().posts, []);
  assert.ok(
    seen.every((rows) => rows.length === 1),
    JSON.stringify(seen),
  );
  const [topic] = server.topics("main");
  assert(topic);
  assert.deepEqual([...board.getSnapshot().own], [topic.id]);
});

test("two posts of the same text are two topics, and never three rows", async () => {
  const { board, clock } = await followed();
  board.post("again");
  board.post("again");
  const rows = new Set<number>();
  board.subscribe(() => {
    const { topics, posts } = board.getSnapshot();
    rows.add(topics.length + posts.length);
  });
  await clock.pass(500);
  const { topics, posts } = board.getSnapshot();
  assert.deepEqual([topics.length, posts.length, [...rows]], [2, 0, [2]]);
});

test("a like topic of another author, or an older one, does not hide a post", async () => {
  const { board, server, clock } = await followed();
  server.post("hello", "main", "Kato");
  server.post("hello");
  await clock.pass(10);
  server.answers = ["refused", "refused"];
  board.post("hello");
  await clock.pass(3);
  server.post("hello", "main", "Kato");
  await clock.pass(3);
  assert.equal(board.getSnapshot().posts.length, 1);
});

test("an answer that is lost does not double the post", async () => {
  const { board, server, clock } = await followed();
  server.answers = ["lost"];
  board.post("once");
  await clock.pass(3);
  const { topics, posts, own } = board.getSnapshot();
  assert.deepEqual([topics.length, posts.length], [1, 0], "the list shows it before the answer");
  assert.deepEqual([...own], [topics[0]?.id], "and it is known as this tab's");
  await clock.pass(10_000);
  assert.deepEqual(
    [server.topics("main").length, server.arrivals.length, new Set(server.arrivals).size],
    [1, 2, 1],
  );
});

test("503 and 502 are repeated with the same key, after the time that the server asks for", async () => {
  const { board, server, clock } = await followed();
  server.answers = [
    problem(503, "unavailable", "the board cannot be reached now", { "Retry-After": "7" }),
    new Response("<html>Bad Gateway", { status: 502 }),
  ];
  board.post("later");
  await clock.pass(100);
  const [post] = board.getSnapshot().posts;
  assert(post?.retryAt);
  assert.deepEqual(
    [post.state, post.detail, post.unsure],
    ["waiting", "the board cannot be reached now", true],
  );
  await clock.pass(6_000);
  assert.equal(server.arrivals.length, 1);
  await clock.pass(60_000);
  assert.deepEqual(
    [server.arrivals.length, new Set(server.arrivals).size, server.topics("main").length],
    [3, 1, 1],
  );
});

test("429 says when, and goes out then; the next one waits behind it", async () => {
  const { board, server, clock } = await followed();
  server.answers = [problem(429, "too_many", "too many posts", { "Retry-After": "12" })];
  board.post("one");
  board.post("two");
  await clock.pass(100);
  const [one, two] = board.getSnapshot().posts;
  assert.deepEqual([one?.detail, one?.unsure, two?.state], ["too many posts", false, "waiting"]);
  await clock.pass(11_000);
  assert.equal(server.arrivals.length, 1);
  await clock.pass(2_000);
  assert.deepEqual(
    server.topics("main").map(({ comment }) => comment),
    ["one", "two"],
  );
});

test("a refused post is taken back with the server's sentence, and holds up no other", async () => {
  const { board, server, clock } = await followed();
  server.answers = [problem(422, "invalid", "comment must not be empty")];
  const key = board.post(" ");
  board.post("fine");
  await clock.pass(100);
  const [post] = board.getSnapshot().posts;
  assert.deepEqual(
    [post?.state, post?.detail, post?.code],
    ["failed", "comment must not be empty", "invalid"],
  );
  assert.deepEqual(
    server.topics("main").map(({ comment }) => comment),
    ["fine"],
  );
  assert(key && board.cancel(key));
  assert.deepEqual(board.getSnapshot().posts, []);
});

test("a refused post can be sent again", async () => {
  const { board, server, clock } = await followed();
  server.answers = [problem(403, "closed", "the board is closed")];
  const key = board.post("let me");
  await clock.pass(100);
  assert(key);
  board.resend(key);
  await clock.pass(100);
  assert.deepEqual([server.topics("main").length, board.getSnapshot().posts], [1, []]);
});

test("a post on a board of which posts are held stays, and goes when it is approved", async () => {
  const { board, server, clock } = await followed();
  server.answers = [new Response("{}", { status: 202 })];
  board.post("please");
  await clock.pass(100);
  assert.deepEqual(
    board.getSnapshot().posts.map(({ state }) => state),
    ["held"],
  );
  const { id } = server.post("please");
  await clock.pass(10);
  assert.deepEqual(board.getSnapshot().posts, []);
  server.delete(id);
  await clock.pass(10);
  assert.deepEqual(board.getSnapshot().posts, [], "and does not come back");
});

test("a post whose topic was deleted at once is over", async () => {
  const { board, server, clock } = await followed();
  server.answers = [problem(410, "topic_gone", "the topic was deleted")];
  board.post("gone");
  await clock.pass(100);
  assert.deepEqual(board.getSnapshot().posts, []);
});

test("offline: three wait, one is taken back, a reload loses none, online they go out once each", async () => {
  const { world, tab, board, server, clock } = await followed();
  tab.signal("offline");
  const keys = ["one", "two", "three"].map((text) => board.post(text));
  await clock.pass(60_000);
  assert.deepEqual(
    board.getSnapshot().posts.map(({ state }) => state),
    ["waiting", "waiting", "waiting"],
  );
  assert.equal(server.arrivals.length, 0);
  assert(board.cancel(keys[1] ?? ""));
  tab.close();
  const again = world.tab({}, tab.storage);
  again.follow();
  assert.deepEqual(
    again.client
      .board("main")
      .getSnapshot()
      .posts.map(({ comment }) => comment),
    ["one", "three"],
  );
  await clock.pass(1_000);
  assert.deepEqual(
    server.topics("main").map(({ comment }) => comment),
    ["one", "three"],
  );
  assert.deepEqual(
    [again.client.board("main").getSnapshot().posts, again.shown],
    [[], ["one", "three"]],
  );
});

test("a reload while a post is on its way does not double it", async () => {
  const { world, tab, board, server, clock } = await followed();
  server.answers = ["lost"];
  board.post("once");
  tab.close();
  await clock.pass(10);
  const again = world.tab({}, tab.storage);
  again.follow();
  await clock.pass(1_000);
  assert.deepEqual(
    [server.topics("main").length, again.client.board("main").getSnapshot().posts],
    [1, []],
  );
});

test("the 21st that would wait is not taken", async () => {
  const { tab, board } = await followed();
  tab.signal("offline");
  const keys = Array.from({ length: 22 }, (_, n) => board.post(`${n}`));
  assert.deepEqual(keys.map((key) => key !== null).lastIndexOf(true), 19);
});

test("a post whose key may have expired is not sent again by itself", async () => {
  const { tab, board, server, clock } = await followed();
  server.answers = ["refused"];
  const key = board.post("old");
  await clock.pass(3);
  tab.signal("offline");
  clock.now += 24 * 3_600_000;
  tab.signal("online");
  await clock.pass(100);
  const [post] = board.getSnapshot().posts;
  assert.deepEqual([post?.state, post?.code, server.arrivals.length], ["failed", "expired", 1]);
  assert(key);
  board.resend(key);
  await clock.pass(100);
  assert.deepEqual([server.topics("main").length, new Set(server.arrivals).size], [1, 2]);
});

test("the connection's return sends what waits for its time", async () => {
  const { board, server, clock } = await followed();
  server.crash();
  board.post("soon");
  await clock.pass(120_000);
  server.up = true;
  await clock.pass(31_000);
  assert.deepEqual(
    server.topics("main").map(({ comment }) => comment),
    ["soon"],
  );
});

test("without storage, and with a broken one, it posts all the same", async () => {
  for (const kept of ["{", "[]", "null", '{"posts":7}']) {
    const { board, server, clock } = await followed(new Map([["kairanban:", kept]]));
    board.post("hello");
    await clock.pass(100);
    assert.equal(server.topics("main").length, 1);
  }
});
