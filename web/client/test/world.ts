// A world without a browser: a clock that tests turn, tabs that share channels and locks, and a
// server with boards, streams and keys.

import type { Topic } from "../src/api.js";
import { BrowserClient } from "../src/client.js";
import { digest } from "../src/digest.js";
import type { Channel, Env, Signal, Source } from "../src/env.js";

export class Clock {
  now = 1_000_000;
  #timers: { at: number; act: () => void }[] = [];

  after(ms: number, act: () => void): () => void {
    const timer = { at: this.now + Math.max(0, Math.ceil(ms)), act };
    this.#timers.push(timer);
    return () => void (this.#timers = this.#timers.filter((other) => other !== timer));
  }

  /** Lets time pass; whatever is due happens in its order. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    for (;;) {
      await settle();
      const due = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.now = Math.max(this.now, due.at);
      due.act();
    }
    this.now = end;
    await settle();
  }
}

/** Lets promises and messages go their way. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise<void>((done) => void setImmediate(done));
}

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
    const topic = { id: revision, comment, author, created_at: at, updated_at: at, edited_at: null, revision };
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

  /** Ends a board: the streams that are of others, too, go on. */
  end(board: string, reason: "gone" | "auth"): void {
    this.boards.delete(board);
    for (const stream of [...this.streams]) {
      if (!stream.boards.includes(board)) continue;
      if (stream.boards.length > 1) stream.send("bye", { reason, board });
      else {
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
    const since = stream.cursor;
    if (since && !since.startsWith(`${this.epoch}-`)) stream.send("reset", { reason: "epoch" }, "");
    const resumes = since.startsWith(`${this.epoch}-`);
    for (const board of stream.boards) {
      if (!resumes) this.#snapshot(stream, board);
      else this.#patch(stream, board, Number(since.slice(this.epoch.length + 1)));
    }
    if (stream.boards.length > 1) stream.send("cursor", { revision: this.revision }, this.cursor());
  }

  async answer(url: string, init: RequestInit): Promise<Response> {
    if (!this.up) throw new TypeError("refused");
    const board = /boards\/([^/]+)\/topics/.exec(url)?.[1] ?? "";
    const problem = (status: number, code: string, detail: string) => Response.json({ status, code, detail }, { status });
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
      if (!stream.boards.includes(board)) continue;
      this.#patch(stream, board, this.revision - 1);
      if (stream.boards.length > 1) stream.send("cursor", { revision: this.revision }, this.cursor());
    }
  }

  #snapshot(stream: FakeSource, board: string): void {
    const topics = this.topics(board);
    const data = { board, revision: this.revision, digest: digest(topics), topics };
    stream.send("snapshot", data, stream.boards.length > 1 ? undefined : this.cursor());
  }

  #patch(stream: FakeSource, board: string, from: number): void {
    const ops = this.log.filter((change) => change.board === board && change.revision > from).map(({ op }) => op);
    if (!ops.length) return;
    const data = { board, from, revision: this.revision, digest: digest(this.topics(board)), ops };
    stream.send("patch", data, stream.boards.length > 1 ? undefined : this.cursor());
  }
}

export class FakeSource implements Source {
  readyState = 0;
  onopen: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly boards: string[];
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

  addEventListener(name: string, act: (event: { data: string; lastEventId: string }) => void): void {
    this.#listeners.set(name, act);
  }

  close(): void {
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
    const status = server.statuses.shift() ?? (this.boards.every((board) => server.boards.has(board)) ? 200 : 404);
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

export class World {
  readonly clock = new Clock();
  readonly server = new Server();
  readonly channels = new Map<string, Set<FakeChannel>>();
  readonly locks = new Map<string, { tab: Tab; lost: () => void }>();
  readonly queues = new Map<string, { tab: Tab; granted: () => void; lost: () => void }[]>();
  #tabs = 0;
  seed = 1_234_567;
  /** Whether there are Web Locks. */
  readonly secure: boolean;

  constructor({ secure = true } = {}) {
    this.secure = secure;
  }

  tab(options = {}, storage?: Map<string, string>): Tab {
    return new Tab(this, ++this.#tabs, options, storage);
  }

  /** Heartbeats of all open streams, for so long. */
  async beat(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 5_000) {
      await this.clock.pass(5_000);
      for (const stream of this.server.streams) stream.send("heartbeat", {});
    }
  }

  /** The time that a request or its answer takes. */
  way(): Promise<void> {
    return new Promise((arrived) => void this.clock.after(2, arrived));
  }

  random(): number {
    this.seed = (this.seed * 16_807) % 2_147_483_647;
    return this.seed / 2_147_483_647;
  }
}

class FakeChannel implements Channel {
  onmessage: ((event: { data: never }) => void) | null = null;
  readonly tab: Tab;
  readonly #all: Set<FakeChannel>;

  constructor(tab: Tab, name: string) {
    this.tab = tab;
    this.#all = tab.world.channels.get(name) ?? new Set();
    tab.world.channels.set(name, this.#all);
    this.#all.add(this);
  }

  postMessage(message: unknown): void {
    if (!this.tab.alive) return;
    for (const other of this.#all) {
      if (other === this) continue;
      const data = structuredClone(message) as never;
      setImmediate(() => other.tab.whenAwake(() => other.onmessage?.({ data })));
    }
  }

  close(): void {
    this.#all.delete(this);
  }
}

export class Tab {
  readonly world: World;
  readonly client: BrowserClient;
  readonly storage: Map<string, string>;
  alive = true;
  visible = true;
  online = true;
  #frozen = false;
  #held: (() => void)[] = [];
  #signal: (signal: Signal) => void = () => {};

  constructor(world: World, number: number, options: object, storage = new Map<string, string>()) {
    this.world = world;
    this.storage = storage;
    void number;
    this.client = new BrowserClient(options, this.#env());
  }

  get shown(): string[] {
    return this.client.board("main").getSnapshot().topics.map(({ comment }) => comment);
  }

  get status(): string {
    return this.client.board("main").getSnapshot().status.name;
  }

  /** Follows a board, and says what it shows. */
  follow(board = "main"): void {
    this.client.board(board).subscribe(() => {});
  }

  signal(signal: Signal): void {
    if (signal === "visible" || signal === "hidden") this.visible = signal === "visible";
    if (signal === "online" || signal === "offline") this.online = signal === "online";
    this.#signal(signal);
  }

  /** The user closes it. */
  close(): void {
    this.#signal("leave");
    this.kill();
  }

  /** Its process dies. */
  kill(): void {
    this.alive = false;
    for (const stream of this.world.server.streams) if (this.#owns(stream)) this.world.server.streams.delete(stream);
    for (const channels of this.world.channels.values()) {
      for (const channel of channels) if (channel.tab === this) channels.delete(channel);
    }
    for (const [name, queue] of this.world.queues) {
      this.world.queues.set(name, queue.filter(({ tab }) => tab !== this));
    }
    for (const [name, { tab }] of this.world.locks) if (tab === this) this.#release(name);
  }

  freeze(): void {
    this.#frozen = true;
  }

  thaw(): void {
    this.#frozen = false;
    this.#held.splice(0).forEach((act) => act());
  }

  /** A frozen tab does it later, a dead one never. */
  whenAwake(act: () => void): void {
    if (!this.alive) return;
    if (this.#frozen) this.#held.push(act);
    else act();
  }

  readonly #sources = new Set<FakeSource>();
  /** How many streams it has open. */
  get streams(): number {
    return [...this.world.server.streams].filter((stream) => this.#owns(stream)).length;
  }

  #owns(stream: FakeSource): boolean {
    return this.#sources.has(stream);
  }

  #env(): Env {
    const { world } = this;
    return {
      now: () => world.clock.now,
      random: () => world.random(),
      after: (ms, act) => world.clock.after(ms, () => this.whenAwake(act)),
      online: () => this.online,
      visible: () => this.visible,
      listen: (act) => {
        this.#signal = act;
        return () => {};
      },
      source: (url) => {
        const source = new FakeSource(this, url);
        this.#sources.add(source);
        return source;
      },
      fetch: async (url, init) => {
        if (!this.online) throw new TypeError("offline");
        await world.way();
        const answer = await world.server.answer(url, init);
        await world.way();
        return answer;
      },
      channel: (name) => new FakeChannel(this, name),
      lock: world.secure ? (name, force, granted, lost) => this.#lock(name, force, granted, lost) : undefined,
      storage: {
        getItem: (name) => this.storage.get(name) ?? null,
        setItem: (name, value) => void this.storage.set(name, value),
      },
    };
  }

  #lock(name: string, force: boolean, granted: () => void, lost: () => void): () => void {
    const { locks, queues } = this.world;
    let left = false;
    const request = { tab: this as Tab, granted: () => !left && this.whenAwake(granted), lost: () => !left && this.whenAwake(lost) };
    const grant = () => {
      locks.set(name, request);
      setImmediate(request.granted);
    };
    const holder = locks.get(name);
    if (!holder || force) {
      if (holder) setImmediate(holder.lost);
      grant();
    } else queues.set(name, [...(queues.get(name) ?? []), request]);
    return () => {
      left = true;
      queues.set(name, (queues.get(name) ?? []).filter((other) => other !== request));
      if (locks.get(name) === request) this.#release(name);
    };
  }

  #release(name: string): void {
    const { locks, queues } = this.world;
    locks.delete(name);
    const next = queues.get(name)?.shift();
    if (!next) return;
    locks.set(name, next);
    setImmediate(next.granted);
  }
}
