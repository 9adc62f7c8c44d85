// What has been seen, and how much has not: in the title, its icon and the list of boards.

import type { BoardState } from "../client/src/api.js";
import { board, copy, find, left, name, put, remembered } from "./shared.js";
import { remember } from "./remember.js";

const key = `seen:${name}`;
const title = document.title;
const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]")!;
const here = document.querySelector("#boards [aria-current]");
/** At a first visit all of it counts as seen. */
let seen = left || (board.getSnapshot().topics.at(-1)?.id ?? 0);

/** `shown`: the newest topic that the list shows. */
export function count({ topics, own }: BoardState, shown: number, isHeld: boolean): void {
  if (!document.hidden && !isHeld) seen = Math.max(seen, shown);
  // Another tab may be further.
  if (seen > Number(remembered(key))) remember(key, seen);
  const unread = topics.filter(({ id }) => id > seen && !own.has(id)).length;
  document.title = unread ? `(${unread}) ${title}` : title;
  const address = `/assets/icon${unread ? "-unread" : ""}.svg`;
  if (icon.getAttribute("href") !== address) icon.href = address;
  let count = here?.querySelector(".count");
  if (!unread) count?.remove();
  else if (here) {
    if (!count) here.append((count = copy("unread")));
    put(find(count, "span"), `${unread}`);
  }
}
