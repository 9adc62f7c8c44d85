// The boards of all tabs, as this tab knows them. Each tab applies the same events in the same
// order, so any of them can go on when the one that holds the stream ends.

import type { Status } from "./api.js";
import {
  fromSnapshot,
  isNewer,
  type List,
  type PatchData,
  patched,
  reached,
  type SnapshotData,
} from "./list.js";

/** An event of a stream, or one of ours that goes the same way. */
export interface StreamEvent {
  readonly name: string;
  readonly data: any;
  /** The stream's cursor behind this event; empty if it has none yet. */
  readonly id: string;
}

type Ended = Extract<Status, { name: "ended" }>;

/** One board. Never changed in place. */
export interface Entry {
  readonly list: List | null;
  /** Of the connection. */
  readonly link: Status;
  /** Since when the server has not been able to read the board. */
  readonly stale: string | null;
  readonly ended: Ended | null;
}

const CONNECTING: Status = { name: "connecting" };
const NEW: Entry = { list: null, link: CONNECTING, stale: null, ended: null };

export class Replica {
  readonly #entries = new Map<string, Entry>();
  readonly #changed: (board: string) => void;

  constructor(changed: (board: string) => void) {
    this.#changed = changed;
  }

  get(board: string): Entry {
    return this.#entries.get(board) ?? NEW;
  }

  set(board: string, change: Partial<Entry>): void {
    this.#entries.set(board, { ...this.get(board), ...change });
    this.#changed(board);
  }

  /** Drops everything. */
  clear(): void {
    const boards = [...this.#entries.keys()];
    this.#entries.clear();
    boards.forEach(this.#changed);
  }

  status(board: string): Status {
    const { list, link, stale, ended } = this.get(board);
    if (ended) return ended;
    if (link.name !== "live") return link;
    if (stale) return { name: "stale", since: stale };
    return list ? link : CONNECTING;
  }

  /** Takes over what another tab knows of a board, unless this one is further. */
  merge(board: string, entry: Entry): void {
    const { list } = this.get(board);
    const theirs = entry.ended || (entry.list && isNewer(list, entry.list));
    this.set(board, theirs ? entry : { ...entry, list });
  }

  /** Applies an event of a stream of these boards. False: the list differs from the server's. */
  apply(boards: readonly string[], { name, data, id }: StreamEvent): boolean {
    const of: readonly string[] = data.board === undefined ? boards : [data.board];
    if (name === "snapshot" || name === "patch") return this.#advance(of[0] ?? "", name, data, id);
    for (const board of of) {
      const { list } = this.get(board);
      if (name === "link") this.set(board, { link: data.status });
      else if (name === "cursor")
        this.set(board, { list: list && reached(list, data.revision, id) });
      // What is shown stays until the list comes, but nothing goes on from it.
      else if (name === "reset") this.set(board, { list: list && { ...list, cursor: "" } });
      else if (name === "list") this.set(board, { list: data.list, ended: null });
      else if (name === "stale") this.set(board, { stale: data.since });
      else if (name === "fresh") this.set(board, { stale: null });
      else if (name === "ended") this.set(board, { ...NEW, ended: data.status });
    }
    return true;
  }

  #advance(board: string, name: string, data: SnapshotData & PatchData, id: string): boolean {
    const { list } = this.get(board);
    const cursor = id || (list?.cursor ?? "");
    const next =
      name === "snapshot" ? fromSnapshot(data, cursor) : list && patched(list, data, cursor);
    if (next === null) {
      // A patch for a board without a list follows nothing; its list is on its way.
      if (name === "patch" && !list) return true;
      if (list) this.set(board, { list: { ...list, cursor: "" } });
      return false;
    }
    if (next !== list) this.set(board, { list: next });
    return true;
  }
}
