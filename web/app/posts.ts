// The rows of this tab's posts that the list does not show yet.

import type { Post, Status } from "../client/src/api.js";
import { copy, draw, find, put, row, say, words } from "./shared.js";

/** The sentence about a post: this page's words for the server's code, or the server's own. */
function sentence({ state, code, detail, errors, retryAt }: Post, isOffline: boolean): string {
  const seconds = Math.ceil(((retryAt ?? 0) - Date.now()) / 1_000);
  if (state === "failed")
    return errors.map(fault).join(" ") || words[code ?? ""] || detail || say("refused");
  if (state !== "waiting") return say(state === "held" ? "held" : "sending");
  const wait = seconds > 0 && !isOffline ? say("goes_in", seconds) : say("goes");
  return code === "too_many" ? `${say(code)} ${wait}` : wait;
}

/** The sentence about a field. */
export const fault = ({ code, field, detail }: Post["errors"][number]) =>
  words[code] ? say(code, document.getElementById(field)?.dataset.max) : detail;

function postRow(post: Post, isOffline: boolean): HTMLElement {
  const known = row(post.key);
  const { dataset } = known;
  if (dataset.state !== post.state) {
    dataset.state = post.state;
    dataset.key = post.key;
    const created_at = new Date(post.at).toISOString();
    draw(known, post.key, { ...post, created_at, edited_at: null }, true);
    const note = copy("note");
    const isFailed = post.state === "failed";
    known.className = `topic ${isFailed ? "failed" : "waiting"}`;
    const shown: Record<string, boolean> = {
      held: post.state === "held",
      resend: isFailed,
      edit: isFailed,
      discard: isFailed,
      cancel: post.state === "waiting",
    };
    note.querySelectorAll<HTMLElement>("[data-do]").forEach((element) => {
      if (!shown[element.dataset.do!]) element.remove();
    });
    if (isFailed) note.setAttribute("role", "alert");
    find(known, ".comment").after(note);
  }
  put(find(known, ".why"), sentence(post, isOffline));
  return known;
}

/** The newest first. */
export const postRows = (posts: readonly Post[], { name }: Status) =>
  posts.map((post) => postRow(post, name === "offline")).reverse();
