// What has been seen, and how much has not: in the title, its icon and the list of boards.

import type { BoardState } from "../client/src/api.js";
import { board, client, copy, find, left, main, name, put, remembered } from "./shared.js";
import { remember } from "./remember.js";

/** At most this many of the other boards that this browser has been to are followed. */
const OTHERS_MAX = 10;
const title = document.title;
const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]")!;
const links = [...document.querySelectorAll<HTMLElement>("#boards [data-board]")];
/** At a first visit all of it counts as seen. */
let seen = left || (board.getSnapshot().topics.at(-1)?.id ?? 0);

/** The newest topic that this browser was shown of a board; 0 if it was never there. */
const seenOf = (name: string) => Number(remembered(`seen:${name}`));

/** Shows beside a board how many topics of it are newer. Returns how many. */
function badge(name: string, { topics, own }: BoardState, seen: number): number {
  const unread = topics.filter(({ id }) => id > seen && !own.has(id)).length;
  const link = links.find(({ dataset }) => dataset.board === name);
  let count = link?.querySelector(".count");
  if (!unread) count?.remove();
  else if (link) {
    if (!count) link.append((count = copy("unread")));
    put(find(count, "span"), `${unread}`);
  }
  return unread;
}

/** `shown`: the newest topic that the list shows. */
export function count(state: BoardState, shown: number, isHeld: boolean): void {
  if (!document.hidden && !isHeld) seen = Math.max(seen, shown);
  // Another tab may be further.
  if (seen > seenOf(name)) remember(`seen:${name}`, seen);
  const unread = badge(name, state, seen);
  document.title = unread ? `(${unread}) ${title}` : title;
  const address = `/assets/icon${unread ? "-unread" : ""}.svg`;
  if (icon.getAttribute("href") !== address) icon.href = address;
}

/** Counts on the other boards, too, on the stream of this one. */
export function countOthers(): void {
  const others = links.map(({ dataset }) => dataset.board!);
  const visited = others.filter((other) => other !== name && seenOf(other));
  for (const other of visited.slice(0, Math.min(OTHERS_MAX, +main.dataset.boards! - 1))) {
    const { subscribe, getSnapshot } = client.board(other);
    const show = () => badge(other, getSnapshot(), seenOf(other));
    subscribe(show);
    // Seen in another tab.
    addEventListener("storage", show);
  }
}
