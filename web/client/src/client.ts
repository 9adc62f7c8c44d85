// The boards of one server, as stores: each has a state that never changes in place.

import type { Board, BoardState, Client, ClientOptions, InitialList } from "./api.js";
import { browser, type Env, randomKey, type Signal } from "./env.js";
import { Group } from "./group.js";
import { fromPage } from "./list.js";
import { unseen } from "./outbox.js";
import { Posting } from "./posting.js";

/** A board without readers is followed for so long: they may come back at once. */
const LINGER_MS = 1_000;
/** Without a list, any topic may be older than a post. */
const UNKNOWN = Number.MAX_SAFE_INTEGER;
const NO_TOPICS: BoardState["topics"] = [];

/** Connects to a server: boards are followed from their first subscriber on. */
export function connect(options: ClientOptions = {}): Client {
  return new BrowserClient(options, browser());
}

export class BrowserClient implements Client {
  readonly #boards = new Map<string, BoardStore>();
  readonly #env: Env;
  readonly #group: Group;
  readonly #posting: Posting;
  readonly #stop: () => void;

  constructor(options: ClientOptions, env: Env) {
    const url = (options.url ?? "").replace(/\/$/, "");
    const changed = (board: string) => this.#boards.get(board)?.changed();
    this.#env = env;
    this.#posting = new Posting({ env, url, changed });
    this.#group = new Group({
      env,
      id: randomKey(),
      url,
      heartbeatMs: 1_000 * (options.heartbeat ?? 15),
      boardsMax: options.boardsPerStream ?? 50,
      share: !options.ticket && (options.share ?? true),
      ticket: options.ticket ?? "",
      identity: options.identity ?? "",
      changed,
    });
    this.#stop = env.listen(
      (signal) => this.#signal(signal),
      () => this.#posting.isWaiting,
    );
    this.#group.start();
    this.#posting.flush();
  }

  board(name: string, initial?: InitialList): Board {
    let board = this.#boards.get(name);
    if (!board)
      this.#boards.set(name, (board = new BoardStore(name, this.#env, this.#group, this.#posting)));
    if (initial) this.#group.offer(name, fromPage(initial));
    return board;
  }

  retry(): void {
    this.#group.check(true);
    this.#posting.hurry();
  }

  identify(identity: string): void {
    this.#group.identify(identity);
  }

  close(): void {
    this.#stop();
    this.#group.stop();
  }

  #signal(signal: Signal): void {
    this.#group.signal(signal);
    if (signal === "online") this.#posting.hurry();
  }
}

class BoardStore implements Board {
  readonly name: string;
  readonly #env: Env;
  readonly #group: Group;
  readonly #posting: Posting;
  readonly #listeners = new Set<() => void>();
  #state: BoardState | undefined;
  #followed = false;
  #cancelEnd = () => {};

  constructor(name: string, env: Env, group: Group, posting: Posting) {
    this.name = name;
    this.#env = env;
    this.#group = group;
    this.#posting = posting;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#cancelEnd();
    this.#listeners.add(listener);
    if (!this.#followed) this.#group.want(this.name);
    this.#followed = true;
    return () => {
      this.#listeners.delete(listener);
      if (!this.#listeners.size) this.#cancelEnd = this.#env.after(LINGER_MS, () => this.#end());
    };
  };

  readonly getSnapshot = (): BoardState => (this.#state ??= this.#now());

  readonly post = (comment: string, author = ""): string | null => {
    const { list } = this.#group.replica.get(this.name);
    const after = list ? (list.topics.at(-1)?.id ?? 0) : UNKNOWN;
    return this.#posting.add({ board: this.name, comment, author, after });
  };

  readonly resend = (key: string): void => this.#posting.resend(this.name, key);

  readonly cancel = (key: string): boolean => this.#posting.cancel(this.name, key);

  /** The list, its status or the posts changed, or a part of them that is not shown. */
  changed(): void {
    const before = this.getSnapshot();
    const now = this.#now();
    // Parts that are alike stay the same objects.
    if (isAlike(now.posts, before.posts)) now.posts = before.posts;
    if (isAlike([...now.own], [...before.own])) now.own = before.own;
    if (JSON.stringify(now.status) === JSON.stringify(before.status)) now.status = before.status;
    if (isAlike(Object.values(now), Object.values(before))) return;
    this.#state = now;
    // What waits for its time because the connection was lost need not wait any longer.
    if (now.status.name === "live" && before.status.name !== "live") this.#posting.hurry();
    this.#listeners.forEach((listener) => listener());
  }

  #now(): Writable<BoardState> {
    const { list } = this.#group.replica.get(this.name);
    const own = this.#posting.of(this.name);
    const ids = new Set(this.#posting.own);
    const posts = list ? unseen(own, list.topics, list.revision, ids) : own;
    const settled = own.filter(
      (post) => !posts.includes(post) && (post.topic || post.state === "held"),
    );
    if (settled.length) this.#posting.settle(settled);
    return {
      board: this.name,
      topics: list?.topics ?? NO_TOPICS,
      loaded: !!list,
      status: this.#group.replica.status(this.name),
      posts,
      own: ids,
    };
  }

  #end(): void {
    this.#followed = false;
    this.#group.unwant(this.name);
  }
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

const isAlike = (a: readonly unknown[], b: readonly unknown[]) =>
  a.length === b.length && a.every((value, at) => value === b[at]);
