// Makes the board page live, by the client of web/client. Without this the page works by reloading.
// What a reader needs who does something comes when they do.

import { board, topics } from "./live.js";
import { acts, isHeld, show, waiting } from "./show.js";
import { arrange, showTime } from "./dates.js";
import { begin } from "./reading.js";
import { list, name, remembered } from "./page.js";

export * from "./shared.js";

/** What acts is there soon after the page, or when the reader does something. */
async function load(): Promise<void> {
  Object.assign(acts, await import("./act.js"));
  show();
}

function tick(): void {
  for (const row of list.children) showTime(row);
  arrange();
}

begin(topics);
list.addEventListener("focusout", () => setTimeout(show));
addEventListener("scroll", () => waiting && !isHeld() && show(), { passive: true });
board.subscribe(show);
tick();
show();
for (const name of ["focusin", "keydown", "pointermove", "pointerdown"])
  addEventListener(name, load, { once: true, passive: true });
if (board.getSnapshot().posts.length || remembered(`draft:${name}`)) void load();
else setTimeout(load, 2_000);
setInterval(tick, 60_000);
