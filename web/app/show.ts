// The live list on the page, and what waits while one reads.

import type { BoardState } from "../client/src/api.js";
import { arrange } from "./dates.js";
import { board, topics } from "./live.js";
import { find, get, list, put, say } from "./page.js";
import { placeMark } from "./reading.js";
import { idOf, topicRow } from "./rows.js";
import { showStatus } from "./status.js";

/** What the list does besides for a reader who does something. */
interface Acts {
  /** The list changed. */
  follow(state: BoardState, rows: readonly HTMLElement[], newest: number, isHeld: boolean): void;
  /** The rows of this tab's posts, the newest first. */
  postRows(posts: BoardState["posts"], status: BoardState["status"]): HTMLElement[];
  /** A row was taken down while it had the focus. */
  strike(row: HTMLElement): void;
}

/** Of the bar at the top, under which the page scrolls. */
const BAR_HEIGHT = 64;
const pill = document.getElementById("pill");
const empty = get("empty");
/** The newest topic that the list shows. */
let newest = topics[0]?.id ?? 0;
/** How many topics wait. */
export let waiting = 0;
/** Filled by what is loaded later. */
export const acts: Partial<Acts> = {};

const focused = () => document.activeElement?.closest<HTMLElement>("#topics > .topic");

/** Nothing moves under the reader: while they are in the list, what is new waits. */
export const isHeld = () =>
  !!pill && (!!focused() || list.parentElement!.getBoundingClientRect().top < BAR_HEIGHT);

export function show(isReleased = false): void {
  const state = board.getSnapshot();
  const held = !isReleased && isHeld();
  if (!held) newest = state.topics.at(-1)?.id ?? 0;
  const rows = wanted(state);
  waiting = state.topics.filter(({ id }) => id > newest && !state.own.has(id)).length;
  reconcile(rows);
  showStatus(state);
  if (pill) {
    pill.hidden = !waiting;
    put(find(pill, "span"), say("new", waiting));
  }
  list.hidden = !(empty.hidden = !!rows.length);
  acts.follow?.(state, rows, newest, held);
}

/** The rows that the list is to have, the newest first. */
function wanted({ topics, posts, own, status }: BoardState): HTMLElement[] {
  const rows = acts.postRows?.(posts, status) ?? [];
  // What was taken down while it had the focus stays until that has left.
  let gone = focused();
  const id = gone ? idOf(gone) : 0;
  if (!id || !topics.length || topics.some((topic) => topic.id === id)) gone = null;
  for (const topic of [...topics].reverse()) {
    if (gone && topic.id < id) {
      rows.push(gone);
      acts.strike?.(gone);
      gone = null;
    }
    if (topic.id <= newest || own.has(topic.id)) rows.push(topicRow(topic, own.has(topic.id)));
  }
  return rows;
}

/** Rows that stay are not moved, so that focus and selection stay, too. */
function reconcile(rows: HTMLElement[]): void {
  const kept = new Set<Element>(rows);
  for (const row of [...list.children]) {
    if (kept.has(row)) continue;
    if (row === focused()) (row.nextElementSibling as HTMLElement | null)?.focus();
    row.remove();
  }
  rows.forEach((row, at) => {
    const there = list.children[at];
    if (there !== row) list.insertBefore(row, there ?? null);
  });
  arrange();
  placeMark();
}
