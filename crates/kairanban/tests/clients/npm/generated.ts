// Uses the types that openapi-typescript made, with openapi-fetch: lists, posts, is refused, administers.
//
//     node generated.js URL TOKEN

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { argv: string[] };

type Topic = components["schemas"]["Topic"];

function assert(condition: unknown, ...said: unknown[]): asserts condition {
  if (!condition) throw new Error(said.map((one) => JSON.stringify(one)).join(" "));
}

const comment = 'by openapi-typescript: \u2028 "quotes" 回覧板\nand lines';
const [url, token] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url! });
const main = { board: "main" };

async function readsAndPosts(): Promise<Topic> {
  const boards = await client.GET("/api/v1/boards", { params: { query: { limit: 10 } } });
  assert(boards.data?.boards.length === 1 && boards.data.boards[0]?.name === "main", boards);
  const once = { params: { path: main, header: { "Idempotency-Key": "once" } }, body: { comment, author: "ann" } };
  const { data: posted } = await client.POST("/api/v1/boards/{board}/topics", once);
  const { data: again } = await client.POST("/api/v1/boards/{board}/topics", once);
  assert(posted && posted.id === again?.id && posted.edited_at === null, posted, again);
  const listed = await client.GET("/api/v1/boards/{board}/topics", { params: { path: main } });
  assert(listed.data?.topics.at(-1)?.comment === comment, listed.data);
  const tag = listed.response.headers.get("ETag") ?? "";
  const same = await client.GET("/api/v1/boards/{board}/topics", { params: { path: main, header: { "If-None-Match": tag } } });
  assert(same.response.status === 304, same.response.status);
  const { data: found } = await client.GET("/api/v1/boards/{board}/topics", { params: { path: main, query: { q: "QUOTES" } } });
  assert(found?.topics[0]?.id === posted.id && found.searched?.complete, found);
  const { data: log } = await client.GET("/api/v1/boards/{board}/changes", { params: { path: main } });
  assert(log?.changes.at(-1)?.kind === "set", log);
  return posted;
}

async function isRefused() {
  const empty = await client.POST("/api/v1/boards/{board}/topics", { params: { path: main }, body: { comment: " " } });
  assert(empty.error?.code === "invalid" && empty.error.errors?.[0]?.field === "comment", empty.error);
  const missing = await client.GET("/api/v1/boards/{board}", { params: { path: { board: "nowhere" } } });
  assert(missing.error?.status === 404, missing.error);
  const forbidden = await client.GET("/api/v1/stats");
  assert(forbidden.error?.status === 401, forbidden.error);
}

async function administers(topic: Topic) {
  client.use({
    onRequest({ request }) {
      request.headers.set("Authorization", `Bearer ${token}`);
    },
  });
  const one = { params: { path: { board: "main", id: topic.id } } };
  const { data: edited } = await client.PATCH("/api/v1/boards/{board}/topics/{id}", { ...one, body: { comment: "edited" } });
  assert(edited?.comment === "edited" && edited.edited_at, edited);
  const deleted = await client.DELETE("/api/v1/boards/{board}/topics/{id}", one);
  assert(deleted.response.status === 204, deleted.response.status);
  const { data: restored } = await client.POST("/api/v1/boards/{board}/topics/{id}/restore", one);
  assert(restored?.comment === "edited", restored);
  const lost = { params: { path: { board: "lost" } } };
  const { data: made } = await client.POST("/api/v1/boards", { body: { name: "lost" } });
  assert(made?.post === "open", made);
  const { data: changed } = await client.PATCH("/api/v1/boards/{board}", { ...lost, body: { title: "Lost and found", post: "closed" } });
  assert(changed?.title === "Lost and found", changed);
  assert((await client.DELETE("/api/v1/boards/{board}", lost)).response.status === 204);
  const { data: bot } = await client.POST("/api/v1/tokens", { body: { name: "bot", scope: "post" } });
  const { data: known } = await client.GET("/api/v1/tokens");
  assert(bot?.token && known?.tokens.some(({ id }) => id === bot.id), bot, known);
  const { data: stats } = await client.GET("/api/v1/stats");
  assert(stats?.version, stats);
}

const topic = await readsAndPosts();
await isRefused();
await administers(topic);
