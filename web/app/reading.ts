// Where the reader left off at their last visit.

import type { InitialList } from "../client/src/api.js";
import { copy, find, list, name, put, remembered, say } from "./page.js";
import { idOf } from "./rows.js";

/** The newest topic of the last visit; it does not change during this one. */
export const left = Number(remembered(`seen:${name}`));
let mark: HTMLElement | undefined;

/** Where reading goes on. */
export const leftOff = () => mark?.closest<HTMLElement>(".topic");

/** Begins with what the page shows. */
export function begin(topics: InitialList["topics"]): void {
  const count = topics.filter(({ id }) => id > left).length;
  if (!left || !count) return;
  mark = copy("left-off");
  put(find(mark, "b"), say("left", count));
}

/** The mark stands before the newest topic that was there at the last visit. */
export function placeMark(): void {
  if (!mark) return;
  const row = [...list.children].find((row) => idOf(row) <= left);
  const slip = row?.querySelector(".slip");
  if (!slip) mark.remove();
  else if (slip.previousElementSibling !== mark) slip.before(mark);
}
