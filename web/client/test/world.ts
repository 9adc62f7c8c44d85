// A world without a browser: a clock that tests turn, tabs that share channels and locks, and a
// server.

import { BrowserClient } from "../src/client.js";
import type { Channel, Env, Signal } from "../src/env.js";
import { FakeSource, Server } from "./server.js";

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
    return this.client
      .board("main")
      .getSnapshot()
      .topics.map(({ comment }) => comment);
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
    for (const stream of this.world.server.streams)
      if (this.#owns(stream)) this.world.server.streams.delete(stream);
    for (const channels of this.world.channels.values()) {
      for (const channel of channels) if (channel.tab === this) channels.delete(channel);
    }
    for (const [name, queue] of this.world.queues) {
      this.world.queues.set(
        name,
        queue.filter(({ tab }) => tab !== this),
      );
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
      lock: world.secure
        ? (name, force, granted, lost) => this.#lock(name, force, granted, lost)
        : undefined,
      storage: {
        getItem: (name) => this.storage.get(name) ?? null,
        setItem: (name, value) => void this.storage.set(name, value),
      },
    };
  }

  #lock(name: string, force: boolean, granted: () => void, lost: () => void): () => void {
    const { locks, queues } = this.world;
    let left = false;
    const request = {
      tab: this as Tab,
      granted: () => !left && this.whenAwake(granted),
      lost: () => !left && this.whenAwake(lost),
    };
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
      queues.set(
        name,
        (queues.get(name) ?? []).filter((other) => other !== request),
      );
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
