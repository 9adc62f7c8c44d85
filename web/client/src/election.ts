// Which tab holds the stream for all. With Web Locks the one that holds the lock, which the
// browser passes on when a tab ends, however it ends. Without them (plain http) a tab that asks and
// hears no answer. Either way the leader is heard regularly, a visible tab takes over from a
// hidden one, and from one that is silent because it is frozen. Two leaders for a moment do no
// harm, and the one with the lower term or name steps down.

import type { Env } from "./env.js";

export type ElectionMessage =
  /** The leader is there. `roll`: each tab is to say which boards it wants. */
  | {
      readonly k: "beat";
      readonly from: string;
      readonly term: number;
      readonly visible: boolean;
      readonly roll: boolean;
    }
  /** Asks whether there is a leader. */
  | { readonly k: "claim"; readonly from: string }
  /** A tab ends; so does its lead. */
  | { readonly k: "leave"; readonly from: string; readonly leader: boolean };

export interface ElectionDeps {
  readonly env: Env;
  /** Of this tab. */
  readonly id: string;
  /** Of the group. */
  readonly name: string;
  send(message: ElectionMessage): void;
  /** This tab leads; called again when another one thought that it did. */
  lead(): void;
  follow(): void;
}

const BEAT_MS = 2_000;
/** A leader that is silent for so long is asked, and replaced if it does not answer in a beat. */
const SILENT_MS = 3 * BEAT_MS;
/** How long an answer to a claim may take. */
const ANSWER_MS = 100;
/** How many beats are between two that call the roll. */
const ROLL = 15;

export class Election {
  leading = false;
  /** Of the newest lead that is known. What an earlier one still says does not count. */
  term = 0;
  #beats = 0;
  #heardAt = 0;
  #asked = false;
  #leaderVisible = true;
  readonly #deps: ElectionDeps;
  #cancelTick = () => {};
  #cancelClaim = () => {};
  #leaveLock = () => {};

  constructor(deps: ElectionDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#heardAt = this.#deps.env.now();
    this.#campaign(false);
    this.#tick();
  }

  /** Ends the lead if it is ours, so that another tab begins at once. */
  stop(): void {
    const leader = this.leading;
    this.#cancelTick();
    this.#cancelClaim();
    this.#leaveLock();
    if (leader) this.#lose();
    this.#deps.send({ k: "leave", from: this.#deps.id, leader });
  }

  hear(message: ElectionMessage): void {
    if (message.k === "beat") this.#hearBeat(message);
    else if (message.k === "claim") {
      if (this.leading) this.#beat(false);
    } else if (message.leader && !this.leading && !this.#deps.env.lock) this.#campaign(false);
  }

  /** The page was hidden or shown. */
  visibilityChanged(): void {
    if (this.leading) this.#beat(false);
  }

  #hearBeat({ from, term, visible }: ElectionMessage & { k: "beat" }): void {
    const { id } = this.#deps;
    if (this.leading) {
      if (term < this.term || (term === this.term && from < id)) {
        // What the other one said is corrected.
        this.#deps.lead();
        return this.#beat(true);
      }
      this.#leaveLock();
      this.#lose();
      this.#campaign(false);
    }
    // One that was replaced, and was frozen, does not know yet.
    if (term < this.term) return;
    this.#cancelClaim();
    this.term = term;
    this.#heardAt = this.#deps.env.now();
    this.#asked = false;
    this.#leaderVisible = visible;
  }

  /** Becomes the leader when no other tab is; `force`: whether there is or not. */
  #campaign(force: boolean): void {
    const { env, id, name, send } = this.#deps;
    this.#leaveLock();
    if (env.lock) {
      const lost = () => {
        if (this.leading) this.#lose();
        this.#campaign(false);
      };
      this.#leaveLock = env.lock(name, force, () => this.#win(), lost);
    } else if (force) this.#win();
    else {
      send({ k: "claim", from: id });
      // A visible tab first; and not all at once.
      const ms = ANSWER_MS * (env.visible() ? 1 : 2) + env.random() * ANSWER_MS;
      this.#cancelClaim();
      this.#cancelClaim = env.after(ms, () => this.#win());
    }
  }

  #win(): void {
    if (this.leading) return;
    this.#cancelClaim();
    this.leading = true;
    this.term++;
    this.#deps.lead();
    this.#beat(true);
  }

  #lose(): void {
    this.leading = false;
    this.#heardAt = this.#deps.env.now();
    this.#deps.follow();
  }

  #beat(roll: boolean): void {
    const { env, id, send } = this.#deps;
    send({ k: "beat", from: id, term: this.term, visible: env.visible(), roll });
  }

  #tick(): void {
    const { env, id, send } = this.#deps;
    this.#cancelTick = env.after(BEAT_MS, () => this.#tick());
    if (this.leading) return this.#beat(++this.#beats % ROLL === 0);
    const silent = env.now() - this.#heardAt >= SILENT_MS;
    if ((silent && this.#asked) || (!this.#leaderVisible && env.visible())) {
      this.#asked = false;
      this.#campaign(true);
    } else if (silent) {
      // This tab may have been frozen itself, and what the leader said may be on its way.
      this.#asked = true;
      send({ k: "claim", from: id });
    }
  }
}
