// How the connection stands: a word beside the title, and a line above the list. Never colour alone.

import type { BoardState } from "../client/src/api.js";
import { clock } from "./dates.js";
import { copy, find, get, put, say } from "./page.js";

const state = get("state");
const band = get("band");
const closed = document.getElementById("no-post");

export function showStatus({ status, posts }: BoardState): void {
  const { name } = status;
  // The server has said that, or that its list may be old.
  if (name === "connecting") return;
  const seconds =
    name === "reconnecting" && status.at ? Math.ceil((status.at - Date.now()) / 1_000) : 0;
  const time = name === "stale" ? clock(new Date(status.since)) : "";
  // Seconds that count down are seen, but not announced.
  if (!state.firstElementChild) state.replaceChildren(copy("word"));
  state.dataset.state = name;
  const [said, seen] = state.querySelectorAll("i");
  put(said!, seconds > 0 ? say("reconnecting") : "");
  put(seen!, seconds > 0 ? say("back_in", seconds) : say(name, time));
  const waiting = posts.filter((post) => post.state === "waiting").length;
  band.hidden = !say(`${name}_band`);
  band.dataset.state = name;
  put(find(band, "b"), say(`${name}_band`, time));
  put(
    find(band, "span"),
    name === "offline"
      ? waiting
        ? say(waiting > 1 ? "waiting" : "waiting_one", waiting)
        : ""
      : say(`${name}_text`),
  );
  get("try").hidden = name !== "reconnecting";
  if (closed) closed.hidden = !band.hidden;
}
