// What a reader needs who does something: posts, keys, links to copy, the theme. Loaded then.

import type { BoardState } from "../client/src/api.js";
import { tell } from "./announce.js";
import { board, client, copy, find, get, list, put, say, show } from "./shared.js";
import { canEdit, compose, edit, takeBack } from "./compose.js";
import { keys } from "./keys.js";
import { themes } from "./theme.js";
import { count, countOthers } from "./unread.js";

export { postRows } from "./posts.js";

const facts = document.getElementById("count");

/** The list changed. */
export function follow(
  state: BoardState,
  rows: readonly HTMLElement[],
  newest: number,
  isHeld: boolean,
): void {
  const { status, topics } = state;
  if (status.name === "ended") {
    put(find(get("empty"), "h2"), say("over"));
    put(find(get("empty"), "p"), status.detail ?? say(status.why));
  }
  if (facts) put(facts, topics.length.toLocaleString("en"));
  count(state, newest, isHeld);
  takeBack(state);
  tell(state);
  // A link can be copied where the browser lets a page write to the clipboard.
  for (const row of navigator.clipboard ? rows : [])
    if (!row.dataset.key && !row.querySelector(".copy")) find(row, ".slip").append(copy("copy"));
}

/** What was taken down while it had the focus says so. */
export function strike(row: HTMLElement): void {
  if (row.matches(".gone")) return;
  row.classList.add("gone");
  const said = document.createElement("p");
  said.textContent = say("taken_down");
  said.className = "note";
  find(row, ".comment").after(said);
}

function press(event: Event): void {
  const button = (event.target as Element).closest<HTMLElement>("[data-do]");
  const row = button?.closest<HTMLElement>(".topic");
  if (!row) return;
  const { key = "" } = row.dataset;
  const wish = button!.dataset.do;
  if (wish === "copy") {
    const { href } = find<HTMLAnchorElement>(row, ".when");
    void navigator.clipboard.writeText(href).then(() => {
      button!.title = button!.ariaLabel = say("copied");
      button!.classList.add("done");
    });
  } else if (wish === "resend") board.resend(key);
  else {
    const post = board.getSnapshot().posts.find((post) => post.key === key);
    if (wish !== "edit") board.cancel(key);
    else if (post && canEdit() && board.cancel(key)) edit(post.comment, post.author);
  }
}

list.addEventListener("click", press);
get("try").addEventListener("click", () => client.retry());
document.getElementById("pill")?.addEventListener("click", () => {
  scrollTo(0, 0);
  show(true);
  (list.firstElementChild as HTMLElement).focus({ preventScroll: true });
});
document.addEventListener("visibilitychange", () => show());
// Seconds that are counted down change without an event.
setInterval(() => {
  const { status, posts } = board.getSnapshot();
  if (status.name !== "live" || posts.length) show();
}, 1_000);
countOthers();
compose();
keys();
themes();
