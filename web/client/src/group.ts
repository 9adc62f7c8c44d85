// The tabs of a browser that share one stream. Each says which boards it wants; the leader follows
// them all and passes on every event; each tab applies it to its own replica.

import type { Env, Signal } from "./env.js";
import { Election, type ElectionMessage } from "./election.js";
import type { List } from "./list.js";
import { type Entry, Replica, type StreamEvent } from "./replica.js";
import { Streams } from "./streams.js";

type Message =
  | ElectionMessage
  /**
   * A tab says which boards it wants, and at which revision it has them; and the lists themselves,
   * when it joins or has lost track.
   */
  | {
      readonly k: "hello";
      readonly from: string;
      readonly identity: Identity;
      readonly boards: readonly Wanted[];
      readonly lists: readonly (readonly [string, List | null])[] | null;
    }
  /** The leader answers what it knows of those boards. */
  | {
      readonly k: "welcome";
      readonly to: string;
      readonly term: number;
      readonly entries: readonly (readonly [string, Entry])[];
    }
  | {
      readonly k: "event";
      readonly term: number;
      readonly boards: readonly string[];
      readonly event: StreamEvent;
    }
  /** Asks the leader to look after its streams. */
  | { readonly k: "check"; readonly force: boolean };

/** A board, and the revision of the list that a tab has of it. */
type Wanted = readonly [board: string, revision: number];

/** Who is signed in, and since when a tab has known. */
interface Identity {
  readonly name: string;
  readonly at: number;
}

export interface GroupDeps {
  readonly env: Env;
  readonly id: string;
  readonly url: string;
  readonly heartbeatMs: number;
  readonly boardsMax: number;
  readonly share: boolean;
  readonly identity: string;
  readonly ticket: string;
  /** A board's list or status changed. */
  changed(board: string): void;
}

/** Of the messages: tabs that were loaded before an upgrade are a group of their own. */
const FORMAT = 1;
/** Tabs that open together are followed together. */
const GATHER_MS = 50;
/** A tab that has not answered two rolls is gone. */
const ABSENT_MS = 70_000;

/** Without other tabs there is no election, and no beat to send. */
const alone = (env: Env): Env => ({
  ...env,
  after: () => () => {},
  lock: (_name, _force, granted) => (granted(), () => {}),
});

export class Group {
  readonly replica: Replica;
  readonly #deps: GroupDeps;
  readonly #streams: Streams;
  readonly #wanted = new Set<string>();
  /** What the other tabs want, and when they said so. */
  readonly #tabs = new Map<string, { boards: readonly Wanted[]; at: number }>();
  #identity: Identity;
  #channel: ReturnType<NonNullable<Env["channel"]>> | undefined;
  #election: Election | undefined;
  #gathering = false;

  constructor(deps: GroupDeps) {
    this.#deps = deps;
    this.#identity = { name: deps.identity, at: deps.env.now() };
    this.replica = new Replica(deps.changed);
    const emit = (boards: readonly string[], event: StreamEvent) => {
      this.#send({ k: "event", term: this.#term, boards, event });
      return this.replica.apply(boards, event);
    };
    this.#streams = new Streams({ ...deps, replica: this.replica, emit }, deps.boardsMax);
  }

  start(): void {
    const { env, id, share, url } = this.#deps;
    if (this.#election) return;
    const name = `kairanban-${FORMAT}:${url}`;
    if (share && env.channel) {
      this.#channel = env.channel(name);
      this.#channel.onmessage = ({ data }) => this.#hear(data);
    }
    this.#election = new Election({
      env: this.#channel ? env : alone(env),
      id,
      name,
      send: (message) => this.#send(message),
      lead: () => {
        this.#follow();
        this.#streams.announce();
      },
      follow: () => {
        this.#streams.close();
        this.#hello(true);
      },
    });
    this.#election.start();
    if (!this.#election.leading) this.#hello(true);
  }

  stop(): void {
    const election = this.#election;
    this.#election = undefined;
    this.#streams.close();
    election?.stop();
    this.#channel?.close();
    this.#channel = undefined;
    this.#tabs.clear();
  }

  /** A list that the page has already is a place to begin. */
  offer(board: string, list: List): void {
    if (!this.replica.get(board).list) this.replica.set(board, { list, ended: null });
  }

  /** Follows a board. */
  want(board: string): void {
    this.#wanted.add(board);
    this.#revive(board);
    if (this.#election?.leading) this.#gather();
    else this.#hello(true);
  }

  unwant(board: string): void {
    this.#wanted.delete(board);
    if (this.#election?.leading) this.#gather();
    else this.#hello(false);
  }

  /** Looks whether the connection is alive; `force`: opens it again in any case. */
  check(force: boolean): void {
    if (this.#election?.leading) this.#streams.check(force);
    else this.#send({ k: "check", force });
  }

  signal(signal: Signal): void {
    if (signal === "return") return this.start();
    if (signal === "leave" || signal === "freeze") return this.stop();
    // A frozen page has stopped.
    this.start();
    if (signal === "offline") this.#streams.wentOffline();
    else if (signal === "visible") this.check(false);
    // All tabs hear that the network is back, and one of them has the stream.
    else if (signal === "online") this.#streams.check(true);
    this.#election?.visibilityChanged();
  }

  /** Another reader is signed in: what was shown to the one before is cleared, in all tabs. */
  identify(name: string): void {
    if (name !== this.#identity.name) this.#adopt({ name, at: this.#deps.env.now() });
  }

  get #term(): number {
    return this.#election?.term ?? 0;
  }

  #adopt(identity: Identity): void {
    this.#identity = identity;
    this.#streams.close();
    this.replica.clear();
    this.#hello(true);
    this.#gather();
  }

  #hear(message: Message): void {
    // One that led before, and was frozen, does not know that it was replaced.
    if ((message.k === "event" || message.k === "welcome") && message.term < this.#term) return;
    if (message.k === "event") {
      // Something was missed: the leader has all of it.
      if (!this.replica.apply(message.boards, message.event)) this.#hello(true);
    } else if (message.k === "hello") this.#hearHello(message);
    else if (message.k === "welcome") {
      if (message.to === this.#deps.id)
        message.entries.forEach(([board, entry]) => this.replica.merge(board, entry));
    } else if (message.k === "check") {
      if (this.#election?.leading) this.#streams.check(message.force);
    } else {
      if (message.k === "leave" && this.#tabs.delete(message.from)) this.#gather();
      this.#election?.hear(message);
      if (message.k === "beat" && message.roll) this.#hello(false);
    }
  }

  #hearHello({ from, identity, boards, lists }: Message & { k: "hello" }): void {
    if (identity.name !== this.#identity.name) {
      // The last to sign in is signed in; a tab that was frozen may not know.
      if (identity.at < this.#identity.at) return this.#hello(false);
      this.#adopt(identity);
    }
    this.#tabs.set(from, { boards, at: this.#deps.env.now() });
    if (!this.#election?.leading) return;
    for (const [board, list] of lists ?? []) {
      const known = this.replica.get(board);
      // A list that this tab lacks, or of a board that is there again.
      if (list && !known.list)
        this.replica.apply([board], { name: "list", data: { list }, id: "" });
    }
    if (lists) boards.forEach(([board]) => this.#revive(board));
    if (
      lists ||
      boards.some(([board, revision]) => (this.replica.get(board).list?.revision ?? 0) > revision)
    ) {
      this.#send({
        k: "welcome",
        to: from,
        term: this.#term,
        entries: boards.map(([board]) => [board, this.replica.get(board)]),
      });
    }
    this.#gather();
  }

  /** A board that ended is tried again when it is wanted again. */
  #revive(board: string): void {
    if (this.replica.get(board).ended) this.replica.set(board, { ended: null });
  }

  #hello(withLists: boolean): void {
    if (!this.#election) return;
    const known = [...this.#wanted].map((board) => [board, this.replica.get(board).list] as const);
    const boards = known.map(([board, list]) => [board, list?.revision ?? 0] as const);
    this.#send({
      k: "hello",
      from: this.#deps.id,
      identity: this.#identity,
      boards,
      lists: withLists ? known : null,
    });
  }

  #send(message: Message): void {
    this.#channel?.postMessage(message);
  }

  /** Follows the union of all tabs' boards, in a moment. */
  #gather(): void {
    if (this.#gathering) return;
    this.#gathering = true;
    this.#deps.env.after(GATHER_MS, () => this.#follow());
  }

  #follow(): void {
    this.#gathering = false;
    if (!this.#election?.leading) return;
    const union = new Set(this.#wanted);
    for (const [tab, { boards, at }] of this.#tabs) {
      if (this.#deps.env.now() - at > ABSENT_MS) this.#tabs.delete(tab);
      else boards.forEach(([board]) => union.add(board));
    }
    for (const board of union) if (this.replica.get(board).ended) union.delete(board);
    this.#streams.follow(union);
  }
}
