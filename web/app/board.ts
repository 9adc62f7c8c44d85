// Makes the board page live, by the client of web/client. Without this the page works by reloading.
// What a reader needs who does something comes when they do.

import type { BoardState } from "../client/src/api.js";
import { connect } from "../client/src/index.js";
import { arrange, showTime } from "./dates.js";
import { find, get, list, main, name, put, remembered, say } from "./page.js";
import { begin, placeMark } from "./reading.js";
import { idOf, rendered, topicRow } from "./rows.js";
import { showStatus } from "./status.js";

export { copy, find, get, list, name, put, remembered, say, words } from "./page.js";
export { left, leftOff } from "./reading.js";
export { draw, row } from "./rows.js";

const { cursor, heartbeat, boards } = main.dataset;
export const client = connect({ heartbeat: +heartbeat!, boardsPerStream: +boards! });
const topics = rendered();
export const board = client.board(name, { cursor: cursor!, topics });
/** Of the bar at the top, under which the page scrolls. */
const BAR_HEIGHT = 64;
const pill = document.getElementById("pill");
const empty = get("empty");
/** The newest topic that the list shows. */
let newest = topics[0]?.id ?? 0;
let waiting = 0;
let acts: typeof import("./act.js") | undefined;

const focused = () => document.activeElement?.closest<HTMLElement>("#topics > .topic");

/** Nothing moves under the reader: while they are in the list, what is new waits. */
const isHeld = () =>
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
  acts?.follow(state, rows, newest, held);
}

/** What acts is there soon after the page, or when the reader does something. */
async function load(): Promise<void> {
  acts ??= await import("./act.js");
  show();
}

/** The rows that the list is to have, the newest first. */
function wanted({ topics, posts, own, status }: BoardState): HTMLElement[] {
  const rows = acts?.postRows(posts, status) ?? [];
  // What was taken down while it had the focus stays until that has left.
  let gone = focused();
  const id = gone ? idOf(gone) : 0;
  if (!id || !topics.length || topics.some((topic) => topic.id === id)) gone = null;
  for (const topic of [...topics].reverse()) {
    if (gone && topic.id < id) {
      rows.push(gone);
      acts?.strike(gone);
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

function tick(): void {
  for (const row of list.children) showTime(row);
  arrange();
}

begin(topics);
list.addEventListener("focusout", () => setTimeout(show));
addEventListener("scroll", () => waiting && !isHeld() && show(), { passive: true });
board.subscribe(() => show());
tick();
show();
for (const name of ["focusin", "keydown", "pointermove", "pointerdown"])
  addEventListener(name, load, { once: true, passive: true });
if (board.getSnapshot().posts.length || remembered(`draft:${name}`)) void load();
else setTimeout(load, 2_000);
setInterval(tick, 60_000);
