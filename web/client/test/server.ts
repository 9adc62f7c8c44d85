// A server that is not there: boards, streams and keys, and what it does wrong when a test says so.

import type { Topic } from "../src/api.js";
import { digest } from "../src/digest.js";
import type { Source } from "../src/env.js";
import type { Tab } from "./world.js";

/** The boards of a server, its streams, and what it does wrong when a test says so. */
export class Server {
  epoch = "e1";
  revision = 1;
  readonly boards = new Map<string, Map<number, Topic>>([["main", new Map()]]);
  readonly streams = new Set<FakeSource>();
  /** All that were opened. */
  readonly opened: string[] = [];
  readonly keys = new Map<string, Topic>();
  /** Every post that arrived, by its key. */
  readonly arrivals: string[] = [];
  log: { revision: number; board: string; op: object }[] = [];
  up = true;
  /** What the next posts are answered instead; "lost": written, without an answer. */
  answers: (Response | "lost" | "refused")[] = [];
  /** What the next streams get: an HTTP status. */
  statuses: number[] = [];

  cursor(): string {
    return `${this.epoch}-${this.revision}`;
  }

  topics(board: string): Topic[] {
    return [...(this.boards.get(board)?.values() ?? [])].sort((a, b) => a.id - b.id);
  }

  post(comment: string, board = "main", author = ""): Topic {
    const revision = ++this.revision;
    const at = "2026-01-01T00:00:00Z";
    const topic = {
      id: revision,
      comment,
      author,
      created_at: at,
      updated_at: at,
      edited_at: null,
      revision,
    };
    this.boards.get(board)?.set(topic.id, topic);
    this.log.push({ revision, board, op: { op: "set", topic } });
    this.#tell(board);
    return topic;
  }

  delete(id: number, board = "main"): void {
    this.boards.get(board)?.delete(id);
    this.log.push({ revision: ++this.revision, board, op: { op: "delete", id } });
    this.#tell(board);
  }

  /** Ends a board: streams that have others go on. */
  end(board: string, reason: "gone" | "auth"): void {
    this.boards.delete(board);
    for (const stream of [...this.streams]) {
      if (!stream.following.delete(board)) continue;
      if (stream.following.size) {
        this.#cursor(stream);
        stream.send("bye", { reason, board });
      } else {
        stream.send("bye", { reason });
        stream.break();
      }
    }
  }

  /** The process ends; streams break, and nothing is answered. */
  crash(): void {
    this.up = false;
    for (const stream of [...this.streams]) stream.break();
  }

  /** What a stream is sent when it opens. */
  greet(stream: FakeSource): void {
    const [since = "", ...without] = stream.cursor.split("~");
    stream.following = new Set(stream.boards.filter((board) => this.boards.has(board)));
    if (since && !since.startsWith(`${this.epoch}-`)) stream.send("reset", { reason: "epoch" }, "");
    const resumes = since.startsWith(`${this.epoch}-`);
    for (const board of stream.following) {
      if (!resumes || without.includes(board)) this.#snapshot(stream, board);
      else this.#patch(stream, board, Number(since.slice(this.epoch.length + 1)));
    }
    this.#cursor(stream);
    for (const board of this.#ended(stream)) stream.send("bye", { reason: "gone", board });
  }

  async answer(url: string, init: RequestInit): Promise<Response> {
    if (!this.up) throw new TypeError("refused");
    const board = /boards\/([^/]+)\/topics/.exec(url)?.[1] ?? "";
    const problem = (status: number, code: string, detail: string) =>
      Response.json({ status, code, detail }, { status });
    if (!this.boards.has(board)) return problem(404, "not_found", `no board is named ${board}`);
    if (init.method !== "POST") {
      const body = { topics: this.topics(board), revision: this.revision };
      return Response.json(body, { headers: { ETag: `W/"${this.cursor()}"` } });
    }
    const key = new Headers(init.headers).get("Idempotency-Key") ?? "";
    this.arrivals.push(key);
    const instead = this.answers.shift();
    if (instead === "refused") throw new TypeError("refused");
    if (instead && instead !== "lost") return instead;
    const { comment, author } = JSON.parse(String(init.body));
    const topic = this.keys.get(key) ?? this.post(comment.trim(), board, author);
    this.keys.set(key, topic);
    if (instead === "lost") throw new TypeError("lost");
    return Response.json(topic, { status: 201 });
  }

  #tell(board: string): void {
    for (const stream of this.streams) {
      if (!stream.following.has(board)) continue;
      this.#patch(stream, board, this.revision - 1);
      this.#cursor(stream);
    }
  }

  #ended(stream: FakeSource): string[] {
    return stream.boards.filter((board) => !stream.following.has(board));
  }

  /** Sends the cursor of several boards, which names those that ended. */
  #cursor(stream: FakeSource): void {
    if (stream.boards.length < 2) return;
    const id = [this.cursor(), ...this.#ended(stream)].join("~");
    stream.send("cursor", { revision: this.revision }, id);
  }

  #snapshot(stream: FakeSource, board: string): void {
    const topics = this.topics(board);
    const data = { board, revision: this.revision, digest: digest(topics), topics };
    stream.send("snapshot", data, stream.boards.length > 1 ? undefined : this.cursor());
  }

  #patch(stream: FakeSource, board: string, from: number): void {
    const ops = this.log
      .filter((change) => change.board === board && change.revision > from)
      .map(({ op }) => op);
    if (!ops.length) return;
    const data = { board, from, revision: this.revision, digest: digest(this.topics(board)), ops };
    stream.send("patch", data, stream.boards.length > 1 ? undefined : this.cursor());
  }
}

export class FakeSource implements Source {
  readyState = 0;
  onopen: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  /** The boards of the address. */
  readonly boards: string[];
  /** Those that have not ended. */
  following = new Set<string>();
  cursor: string;
  /** A relay that keeps the connection, and nothing else. */
  silent = false;
  #lastEventId = "";
  readonly #listeners = new Map<string, (event: { data: string; lastEventId: string }) => void>();
  readonly #tab: Tab;

  constructor(tab: Tab, url: string) {
    this.#tab = tab;
    tab.world.server.opened.push(url);
    const { pathname, searchParams } = new URL(url, "http://board.test");
    this.boards = /^\/b\/(.*)\/stream$/.exec(pathname)?.slice(1) ?? searchParams.getAll("board");
    this.cursor = searchParams.get("last_event_id") ?? "";
    tab.world.clock.after(1, () => this.#connect());
  }

  addEventListener(
    name: string,
    act: (event: { data: string; lastEventId: string }) => void,
  ): void {
    this.#listeners.set(name, act);
  }

  close(): void {
    // As of a browser's: nothing is heard of it any more.
    this.onerror = this.onopen = null;
    this.readyState = 2;
    this.#tab.world.server.streams.delete(this);
  }

  send(name: string, data: object, id?: string): void {
    if (this.silent) return;
    if (id !== undefined) this.#lastEventId = id;
    const text = JSON.stringify(data);
    const event = { data: text, lastEventId: this.#lastEventId };
    this.#tab.whenAwake(() => this.readyState === 1 && this.#listeners.get(name)?.(event));
  }

  /** The connection breaks; the browser comes back in 3 s, as `retry` said. */
  break(): void {
    const { server, clock } = this.#tab.world;
    if (this.readyState === 2) return;
    server.streams.delete(this);
    this.readyState = 0;
    this.cursor = this.#lastEventId || this.cursor;
    this.#fail();
    clock.after(3_000, () => this.#connect());
  }

  #fail(): void {
    const then = this.readyState;
    this.#tab.whenAwake(() => this.readyState === then && this.onerror?.(null as never));
  }

  #connect(): void {
    const { server } = this.#tab.world;
    if (this.readyState !== 0 || !this.#tab.alive) return;
    if (!server.up || !this.#tab.online) return this.break();
    const status =
      server.statuses.shift() ??
      (this.boards.some((board) => server.boards.has(board)) ? 200 : 404);
    if (status !== 200) {
      this.readyState = 2;
      return this.#fail();
    }
    this.readyState = 1;
    server.streams.add(this);
    this.#tab.whenAwake(() => this.readyState === 1 && this.onopen?.(null as never));
    server.greet(this);
  }
}
