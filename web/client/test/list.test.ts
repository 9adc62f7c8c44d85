import assert from "node:assert/strict";
import { test } from "node:test";
import type { Topic } from "../src/api.js";
import { backoff } from "../src/backoff.js";
import { digest } from "../src/digest.js";
import {
  fromPage,
  fromSnapshot,
  isNewer,
  leastCursor,
  type List,
  type Op,
  patched,
} from "../src/list.js";

const topic = (id: number, revision: number): Topic => ({
  id,
  comment: `c${id}`,
  author: "",
  created_at: "t",
  updated_at: "t",
  edited_at: null,
  revision,
});
const list = (topics: Topic[], revision: number): List => ({
  topics,
  revision,
  cursor: `e-${revision}`,
});

test("the digest is that of the protocol, whatever the order", () => {
  assert.equal(digest([topic(1, 1), topic(2, 7)]), "8e8e44e4f764f322");
  assert.equal(digest([topic(2, 7), topic(1, 1)]), "8e8e44e4f764f322");
  assert.equal(digest([topic(1, 2)]), "bcd9dbb49673066b");
  assert.equal(digest([]), "0000000000000000");
  assert.notEqual(digest([topic(1, 2)]), digest([topic(2, 1)]));
});

test("random patches lead to the server's list, also applied twice or from further back", () => {
  let seed = 7;
  const random = (below: number) => (seed = (seed * 16_807) % 2_147_483_647) % below;
  for (let round = 0; round < 200; round++) {
    const server = new Map<number, Topic>();
    let client: List | null = list([], 1);
    let revision = 1;
    let back: Op[] = [];
    for (let step = 0; step < 20; step++) {
      const from = revision;
      const ops: Op[] = [];
      for (let op = 0; op <= random(3); op++) {
        const id = 1 + random(12);
        revision++;
        if (random(3)) server.set(id, topic(id, revision));
        else server.delete(id);
        const now = server.get(id);
        ops.push(now ? { op: "set", topic: now } : { op: "delete", id });
      }
      const sorted = [...server.values()].sort((a, b) => a.id - b.id);
      const further = random(2) && back.length;
      const patch = {
        from: further ? from - 1 : from,
        revision,
        digest: digest(sorted),
        ops: further ? [...back, ...ops] : ops,
      };
      const before: List = client;
      client = patched(before, patch, `e-${revision}`);
      assert(client);
      assert.deepEqual(client.topics, sorted);
      assert.equal(patched(client, patch, "x"), client, "it is skipped the second time");
      for (const kept of before.topics)
        if (server.get(kept.id) === kept) assert(client.topics.includes(kept));
      back = ops;
    }
  }
});

test("a patch over a gap, or with another digest, is not applied", () => {
  const before = list([topic(1, 1)], 3);
  const ops: Op[] = [{ op: "delete", id: 1 }];
  assert.equal(patched(before, { from: 4, revision: 5, digest: digest([]), ops }, ""), null);
  assert.equal(
    patched(before, { from: 3, revision: 5, digest: digest([topic(9, 9)]), ops }, ""),
    null,
  );
  assert.equal(patched(before, { from: 2, revision: 3, digest: "?", ops }, ""), before);
  assert.equal(fromSnapshot({ revision: 3, digest: "?", topics: [] }, ""), null);
});

test("a stream of several boards goes on at the least cursor, and nowhere if histories differ", () => {
  assert.equal(leastCursor([list([], 9), list([], 10), list([], 11)]), "e-9");
  assert.equal(leastCursor([list([], 9), { ...list([], 3), cursor: "f-3" }]), undefined);
  assert.equal(leastCursor([]), undefined);
  assert(isNewer(null, list([], 1)));
  assert(isNewer(list([], 9), { ...list([], 3), cursor: "f-3" }));
  assert(!isNewer(list([], 9), list([], 8)));
});

test("a page's list is put in order", () => {
  const { topics, revision } = fromPage({ cursor: "e-12", topics: [topic(3, 3), topic(1, 9)] });
  assert.deepEqual([topics.map(({ id }) => id), revision], [[1, 3], 12]);
});

test("waits are spread over the whole range, double, and have an end", () => {
  assert.deepEqual([backoff(0, 0.5), backoff(1, 0.5), backoff(3, 0.5)], [500, 1_000, 4_000]);
  assert.deepEqual([backoff(3, 0), backoff(40, 0.999)], [0, 29_970]);
});
