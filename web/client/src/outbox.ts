// The posts of this tab that the list does not show yet, and what becomes of each. Plain functions
// on values: no clock, no network.

import type { Post, Topic } from "./api.js";
import type { Reply } from "./ask.js";
import { backoff } from "./backoff.js";

/** A post, with what only the client needs to know of it. */
export interface OwnPost extends Post {
  /** No topic up to this id is this post. */
  readonly after: number;
  /** When it was first sent; null before. */
  readonly sentAt: number | null;
  readonly tries: number;
  /** What it became, once that is known. */
  readonly topic: { readonly id: number; readonly revision: number } | null;
}

/** How many may wait. */
export const WAITING_MAX = 20;
/** The server remembers a key for 24 h: after that it could write the post again. */
const KEY_AGE_MAX_MS = 23 * 3_600_000;

export type Outbox = readonly OwnPost[];

export const isWaiting = ({ state }: Post) => state === "waiting" || state === "sending";

/** What was said of an earlier attempt. */
const UNSAID = { retryAt: null, detail: null, code: null, errors: [] } as const;

const change = (outbox: Outbox, key: string, next: Partial<OwnPost>): Outbox =>
  outbox.map((post) => (post.key === key ? { ...post, ...next } : post));

/** Adds a post; null if too many are waiting. */
export function added(
  outbox: Outbox,
  post: Pick<OwnPost, "key" | "board" | "comment" | "author" | "at" | "after">,
): Outbox | null {
  if (outbox.filter(isWaiting).length >= WAITING_MAX) return null;
  return [
    ...outbox,
    { ...post, ...UNSAID, state: "waiting", unsure: false, sentAt: null, tries: 0, topic: null },
  ];
}

/** After a reload: what was on its way may have arrived. */
export function reloaded(outbox: Outbox): Outbox {
  return outbox
    .filter(({ state }) => state !== "sent")
    .map((post) => (post.state === "sending" ? { ...post, state: "waiting", unsure: true } : post));
}

/** The next post to send, one after the other in the order in which they were written. */
export function next(outbox: Outbox): OwnPost | undefined {
  const first = outbox.find(isWaiting);
  return first?.state === "waiting" ? first : undefined;
}

/** A post is about to be sent; or it is too old for that. */
export function sending(outbox: Outbox, key: string, now: number): Outbox {
  const sentAt = outbox.find((post) => post.key === key)?.sentAt ?? now;
  const isOld = now - sentAt > KEY_AGE_MAX_MS;
  return change(outbox, key, {
    ...UNSAID,
    sentAt,
    ...(isOld ? { state: "failed", code: "expired" } : { state: "sending" }),
  });
}

/** The server answered, or did not. */
export function answered(
  outbox: Outbox,
  key: string,
  reply: Reply,
  now: number,
  random: number,
): Outbox {
  const { status, body } = reply;
  const post = outbox.find((post) => post.key === key);
  const problem = {
    detail: body?.detail ?? null,
    code: body?.code ?? null,
    errors: body?.errors ?? [],
  };
  if (status === 202) return change(outbox, key, { state: "held" });
  if (status < 300 && body?.id) {
    return change(outbox, key, { state: "sent", topic: { id: body.id, revision: body.revision } });
  }
  // It was written, and has been deleted since.
  if (problem.code === "topic_gone") return without(outbox, key);
  if (status < 300 || status >= 500 || status === 408 || status === 429) {
    const tries = (post?.tries ?? 0) + 1;
    return change(outbox, key, {
      ...problem,
      state: "waiting",
      tries,
      retryAt: now + Math.max(reply.retryAfterMs, backoff(tries, random)),
      // Whether it was written is known only of what was refused before.
      unsure: post?.unsure || status !== 429,
    });
  }
  return change(outbox, key, { ...problem, state: "failed" });
}

/** Sends a post again, now. One whose key may have expired gets another. */
export function resent(outbox: Outbox, key: string, newKey: string): Outbox {
  const post = outbox.find((post) => post.key === key);
  if (post?.state === "waiting") return change(outbox, key, { retryAt: null });
  if (post?.state !== "failed") return outbox;
  const again = post.code === "expired" ? { key: newKey, sentAt: null, unsure: false } : {};
  return change(outbox, key, { ...UNSAID, ...again, state: "waiting" });
}

export const without = (outbox: Outbox, key: string): Outbox =>
  outbox.filter((post) => post.key !== key);

/** Two posts whose text the server stores alike. */
const plain = (text: string) => text.replace(/\r\n?/g, "\n").trim();

const isLike = (post: Post, topic: Topic) =>
  topic.comment === plain(post.comment) && topic.author === plain(post.author);

/**
 * The own posts of a board that its list does not show. The list may show one before the answer
 * to it arrives, or although that was lost: then it is known by its text. `own` are the topics that
 * posts before them became; those that are found are added.
 */
export function unseen(
  posts: Outbox,
  topics: readonly Topic[],
  revision: number,
  own: Set<number>,
): Outbox {
  return posts.filter((post) => {
    if (post.topic) return post.topic.revision > revision;
    if (post.sentAt === null || post.state === "failed") return true;
    const echo = topics.find(
      (topic) => topic.id > post.after && !own.has(topic.id) && isLike(post, topic),
    );
    if (echo) own.add(echo.id);
    return !echo;
  });
}
