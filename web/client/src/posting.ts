// Sends the posts of this tab, one after the other, each until the server has answered it; and
// keeps them over a reload.

import { type Reply, request, topicsUrl } from "./ask.js";
import { type Env, randomKey } from "./env.js";
import {
  added,
  answered,
  next,
  type Outbox,
  type OwnPost,
  reloaded,
  resent,
  sending,
  without,
} from "./outbox.js";

/** In UTF-16 units, which take at most three bytes each; together 64 KiB are allowed. */
const KEPT_ALIVE_MAX = 16_000;
/** How many own topics are remembered. */
const OWN_MAX = 500;

export interface PostingDeps {
  readonly env: Env;
  readonly url: string;
  /** The posts of a board changed. */
  changed(board: string): void;
}

export class Posting {
  /** The ids of topics that this tab posted. */
  own: ReadonlySet<number> = new Set();
  #outbox: Outbox = [];
  readonly #deps: PostingDeps;
  readonly #name: string;
  #busy = false;
  #cancel = () => {};

  constructor(deps: PostingDeps) {
    this.#deps = deps;
    this.#name = `kairanban:${deps.url}`;
    this.#load();
  }

  of(board: string): Outbox {
    return this.#outbox.filter((post) => post.board === board);
  }

  /** Whether closing the tab now would lose a post. One that is on its way arrives all the same. */
  get isWaiting(): boolean {
    return this.#outbox.some(({ state }) => state === "waiting");
  }

  add(post: Pick<OwnPost, "board" | "comment" | "author" | "after">): string | null {
    const key = randomKey();
    const outbox = added(this.#outbox, { ...post, key, at: this.#deps.env.now() });
    if (!outbox) return null;
    this.#set(outbox, post.board);
    this.flush();
    return key;
  }

  resend(board: string, key: string): void {
    this.#set(resent(this.#outbox, key, randomKey()), board);
    this.flush();
  }

  cancel(board: string, key: string): boolean {
    const post = this.#outbox.find((post) => post.key === key);
    if (!post || post.state === "sending" || post.state === "sent") return false;
    this.#set(without(this.#outbox, key), board);
    return true;
  }

  /** The list shows these posts now. */
  settle(posts: Outbox): void {
    const keys = new Set(posts.map(({ key }) => key));
    this.#outbox = this.#outbox.filter(({ key }) => !keys.has(key));
    this.#save();
  }

  /** The network is back: nothing waits for its time. */
  hurry(): void {
    const first = next(this.#outbox);
    if (first?.retryAt && first.code === null) this.resend(first.board, first.key);
    else this.flush();
  }

  /** Sends what waits. */
  flush(): void {
    const { env } = this.#deps;
    const post = next(this.#outbox);
    this.#cancel();
    if (!post || this.#busy || !env.online()) return;
    const ms = (post.retryAt ?? 0) - env.now();
    if (ms > 0) this.#cancel = env.after(ms, () => this.flush());
    else void this.#send(post);
  }

  async #send({ key, board, comment, author }: OwnPost): Promise<void> {
    const { env, url } = this.#deps;
    this.#set(sending(this.#outbox, key, env.now()), board);
    if (this.#outbox.find((post) => post.key === key)?.state !== "sending") return this.flush();
    this.#busy = true;
    const text = JSON.stringify({ comment, author });
    const reply = await request(env, topicsUrl(url, board), {
      method: "POST",
      // It outlives the page, unless it is longer than a browser allows then.
      keepalive: text.length < KEPT_ALIVE_MAX,
      headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      body: text,
    });
    this.#busy = false;
    this.#take(key, board, reply);
    this.flush();
  }

  #take(key: string, board: string, reply: Reply): void {
    const { env } = this.#deps;
    if (reply.status < 300 && reply.body?.id)
      this.own = new Set([...this.own, reply.body.id].slice(-OWN_MAX));
    this.#set(answered(this.#outbox, key, reply, env.now(), env.random()), board);
  }

  #set(outbox: Outbox, board: string): void {
    this.#outbox = outbox;
    this.#save();
    this.#deps.changed(board);
  }

  #load(): void {
    try {
      const kept = JSON.parse(this.#deps.env.storage?.getItem(this.#name) ?? "{}");
      this.own = new Set(kept.own);
      this.#outbox = reloaded(kept.posts ?? []);
    } catch {
      // Not ours, or forbidden: it begins empty.
    }
  }

  #save(): void {
    try {
      this.#deps.env.storage?.setItem(
        this.#name,
        JSON.stringify({ own: [...this.own], posts: this.#outbox }),
      );
    } catch {
      // Full, or forbidden: then a reload loses them, and the page says so before it.
    }
  }
}
