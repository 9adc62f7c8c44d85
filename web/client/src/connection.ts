// One EventSource for some boards: opens it where the lists of the boards stand, notices when it
// is silent or given up, and comes back. What it receives it passes on as events.

import { askForList, parsed } from "./ask.js";
import { backoff } from "./backoff.js";
import type { Status } from "./api.js";
import type { Env, Source } from "./env.js";
import { isNewer, leastCursor, type List } from "./list.js";
import type { Replica, StreamEvent } from "./replica.js";

export interface ConnectionDeps {
  readonly env: Env;
  readonly url: string;
  readonly heartbeatMs: number;
  /** Of the only board; empty without one. */
  readonly ticket: string;
  readonly replica: Replica;
  /** Applies an event in all tabs. False: a list differs from the server's. */
  emit(boards: readonly string[], event: StreamEvent): boolean;
}

const NAMES = ["snapshot", "patch", "cursor", "reset", "stale", "fresh", "bye", "heartbeat"];

/** How long an attempt, or a planned pause, may take before it is called a loss. */
const GRACE_MS = 5_000;
/** One attempt answers all signals that come together. */
const GATHER_MS = 500;
/** A refusal is a 200 that says `bye` at once; until then it is not called live. */
const OPENING_MS = 20;
/** Attempts of the browser, which obeys the server's `retry`; then ours, which grow apart. */
const BROWSER_ATTEMPTS = 3;
/** EventSource.CLOSED: the browser has given up. */
const CLOSED = 2;

export class Connection {
  readonly boards = new Set<string>();
  readonly #deps: ConnectionDeps;
  #source: Source | undefined;
  #status: Status = { name: "connecting" };
  /** Counts openings: what an earlier one still answers does not count. */
  #turn = 0;
  #failures = 0;
  /** Lists that were wrong one after the other. */
  #mistakes = 0;
  #heardAt = 0;
  #openedAt = 0;
  /** The server may have refused a board for good: an EventSource cannot see why. */
  #doubt = false;
  /** The server asked for a longer wait, which only the browser knows. */
  #patient = false;
  #planned = false;
  #cancel = () => {};

  constructor(deps: ConnectionDeps) {
    this.#deps = deps;
  }

  /** Opens a stream of the boards, in the place of the one before. */
  async open(): Promise<void> {
    const { env, replica } = this.#deps;
    const turn = this.#stop();
    const [first] = this.boards;
    // Another tab held the stream until now: it goes on as it was.
    if (turn === 1 && first) this.#status = replica.get(first).link;
    this.#openedAt = env.now();
    this.announce();
    if (!(await this.#isCleared(turn)) || turn !== this.#turn || !this.boards.size) return;
    const source = env.source(this.#address([...this.boards]));
    this.#source = source;
    this.#patient = this.#planned = false;
    this.#attempt();
    source.onopen = () => this.#opened();
    source.onerror = () => this.#failed(source);
    for (const name of NAMES) {
      source.addEventListener(name, ({ data, lastEventId }) =>
        this.#receive(name, data, lastEventId),
      );
    }
  }

  close(): void {
    this.#stop();
    this.boards.clear();
  }

  /**
   * Looks whether the stream is alive, because the page was not, or the network changed. `force`:
   * opens it again in any case.
   */
  check(force: boolean): void {
    const { env, heartbeatMs } = this.#deps;
    const silent = env.now() - this.#heardAt > 1.2 * heartbeatMs;
    if (env.now() - this.#openedAt < GATHER_MS) return;
    if (force || (!this.#patient && (silent || this.#status.name !== "live"))) void this.open();
  }

  /** The device says that it has no network. Whatever still arrives proves it wrong. */
  wentOffline(): void {
    this.#say({ name: "offline" });
  }

  /** Says how it stands, to boards and tabs that come later. */
  announce(): void {
    this.#deps.emit([...this.boards], { name: "link", data: { status: this.#status }, id: "" });
  }

  #stop(): number {
    this.#cancel();
    this.#source?.close();
    this.#source = undefined;
    return ++this.#turn;
  }

  #list(board: string): List | null {
    const { list } = this.#deps.replica.get(board);
    return list?.cursor ? list : null;
  }

  #address(boards: string[]): string {
    const known = boards.map((board) => this.#list(board)).filter((list): list is List => !!list);
    const cursor = leastCursor(known);
    // Boards that it does not claim come with their lists.
    const without = boards.filter((board) => !this.#list(board)).map((board) => `~${board}`);
    const since = cursor ? `&last_event_id=${cursor}${without.join("")}` : "";
    const { ticket, url } = this.#deps;
    const withTicket = !IS_PAGE && ticket ? `&ticket=${ticket}` : "";
    const query = `format=patch&heartbeat=event${withTicket}${since}`;
    const [first] = boards;
    return boards.length === 1
      ? `${url}/b/${first}/stream?${query}`
      : `${url}/stream?${boards.map((board) => `board=${board}&`).join("")}${query}`;
  }

  /** After a refusal, asks why, which an EventSource cannot see. False: not now. */
  async #isCleared(turn: number): Promise<boolean> {
    const { env, url, ticket } = this.#deps;
    if (!this.#doubt) return true;
    const answers = await Promise.all(
      [...this.boards].map(
        async (board) => [board, await askForList(env, url, board, ticket)] as const,
      ),
    );
    if (turn !== this.#turn) return false;
    let laterMs = -1;
    for (const [board, answer] of answers) {
      if ("list" in answer) this.#take(board, answer.list);
      else if ("ended" in answer) this.#end(board, answer.ended);
      else laterMs = Math.max(laterMs, answer.laterMs);
    }
    this.#doubt = laterMs >= 0;
    if (this.#doubt) this.#wait(laterMs);
    return !this.#doubt;
  }

  /** A list that was asked for does not replace one that is later. */
  #take(board: string, list: List): void {
    if (isNewer(this.#list(board), list))
      this.#deps.emit([board], { name: "list", data: { list }, id: "" });
  }

  #end(board: string, status: Status): void {
    this.boards.delete(board);
    this.#deps.emit([board], { name: "ended", data: { status }, id: "" });
    if (!this.boards.size) this.#stop();
  }

  #opened(): void {
    this.#heardAt = this.#deps.env.now();
    // A stream says what is stale when it begins; what an earlier one said is over.
    this.#deps.emit([...this.boards], { name: "fresh", data: {}, id: "" });
    this.#after(OPENING_MS, () => this.#live());
  }

  #live(): void {
    this.#failures = 0;
    this.#patient = this.#planned = false;
    this.#say({ name: "live" });
    this.#watch();
  }

  /** Three heartbeats that are missing are the end of a connection that nothing else has ended. */
  #watch(): void {
    const { env, heartbeatMs } = this.#deps;
    this.#after(this.#heardAt + 3 * heartbeatMs - env.now(), () => {
      if (env.now() - this.#heardAt < 3 * heartbeatMs) return this.#watch();
      this.#lost(null);
      void this.open();
    });
  }

  #receive(name: string, text: string, id: string): void {
    this.#heardAt = this.#deps.env.now();
    const data = parsed(text);
    // A board that ended is over, also if the browser comes back and there is one of its name.
    if (data?.board && !this.boards.has(data.board)) return;
    if (name === "bye") return this.#bye(data?.reason, data?.board);
    if (this.#status.name !== "live") this.#live();
    if (name === "heartbeat") return;
    // Behind the cursor stand boards that ended, for a browser that comes back by itself.
    const event = { name, data, id: id.replace(/~.*/, "") };
    if (!data || !this.#deps.emit([...this.boards], event)) return this.#heal();
    if (name === "patch") this.#mistakes = 0;
  }

  /** Asks again for a list that differs from the server's. */
  #heal(): void {
    if (this.#mistakes++) this.#wait(0, this.#mistakes);
    else void this.open();
  }

  #bye(reason: string, board: string | undefined): void {
    if (reason === "gone" || reason === "auth") {
      const [only] = this.boards;
      const ended = board ?? (this.boards.size < 2 && only);
      if (ended) return this.#end(ended, { name: "ended", why: reason, detail: null });
      // The stream has ended, though not all boards are known to have.
      this.#doubt = true;
      return void this.open();
    }
    this.#patient = reason === "limit" || reason === "unavailable";
    this.#planned = !this.#patient;
    if (this.#planned) this.#attempt();
    else this.#after(3 * this.#deps.heartbeatMs, () => void this.open());
  }

  #failed(source: Source): void {
    if (source.readyState === CLOSED) {
      this.#doubt = true;
      this.#wait(0);
    } else if (this.#planned) {
      this.#planned = false;
      this.#attempt();
    } else if (!this.#patient && ++this.#failures >= BROWSER_ATTEMPTS) {
      this.#wait(0);
    } else {
      this.#lost(null);
      this.#giveTime();
    }
  }

  /** While an attempt is young, the status stays what it was. */
  #attempt(): void {
    this.#after(GRACE_MS, () => {
      this.#lost(null);
      this.#giveTime();
    });
  }

  /** An attempt of the browser that hangs is replaced, unless the server asked to wait. */
  #giveTime(): void {
    if (this.#patient) this.#cancel();
    else this.#after(3 * this.#deps.heartbeatMs, () => void this.open());
  }

  #wait(leastMs: number, failures = this.#failures++): void {
    const { env } = this.#deps;
    this.#stop();
    const ms = Math.max(leastMs, backoff(failures, env.random()));
    this.#lost(env.now() + ms);
    this.#after(ms, () => void this.open());
  }

  /** `at`: when the next attempt begins; null if the browser decides. */
  #lost(at: number | null): void {
    // A signal that comes now is answered.
    this.#openedAt = 0;
    this.#say(this.#deps.env.online() ? { name: "reconnecting", at } : { name: "offline" });
  }

  #say(status: Status): void {
    this.#status = status;
    this.announce();
  }

  #after(ms: number, act: () => void): void {
    this.#cancel();
    this.#cancel = this.#deps.env.after(ms, act);
  }
}
