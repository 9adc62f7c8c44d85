// The form: counts as the server does, keeps what is typed, and sends nothing while an input
// method composes.

import type { BoardState } from "../client/src/api.js";
import { board, get, name, put, remembered } from "./shared.js";
import { remember } from "./remember.js";
import { fault } from "./posts.js";

const form = document.getElementById("post") as HTMLFormElement | null;
const comment = get("comment") as HTMLTextAreaElement;
const author = get("author") as HTMLInputElement;
const counter = get("counter");
const draft = `draft:${name}`;

/** Line ends are one character and come in one form here; spaces around do not count. */
const length = (text: string) => [...text.trim()].length;

function edited(): void {
  const [count, max] = [length(comment.value), Number(comment.dataset.max)];
  remember(draft, comment.value);
  put(counter, `${count.toLocaleString("en")} / ${max.toLocaleString("en")}`);
  counter.classList.toggle("near", count >= 0.9 * max);
  counter.classList.toggle("over", count > max);
}

function complain(field: string, code: string, detail = ""): void {
  get(`${field}-fault`).textContent = fault({ field, code, detail });
  get(field).setAttribute("aria-invalid", "true");
}

function calm(): void {
  for (const field of [comment, author]) {
    get(`${field.id}-fault`).textContent = "";
    field.removeAttribute("aria-invalid");
  }
}

function send(): void {
  calm();
  const count = length(comment.value);
  comment.focus();
  if (!count) complain("comment", "empty");
  else if (count > Number(comment.dataset.max)) complain("comment", "too_long");
  else if (!board.post(comment.value, author.value)) complain("comment", "full");
  else {
    remember("name", author.value);
    comment.value = "";
    edited();
  }
}

/** Whether this reader has a form. */
export const canEdit = () => !!form && !form.hidden;

/** Returns a text to the form. What has been typed since stays. */
export function edit(text: string, by: string): void {
  comment.value = [text, comment.value].filter(Boolean).join("\n\n");
  author.value = by;
  edited();
  comment.focus();
}

/** A post that the server finds fault with goes back to the form, where that is said. */
export function takeBack({ posts, status }: BoardState): void {
  if (!form) return;
  // What was being written is not lost with its board.
  form.hidden = status.name === "ended" && !comment.value;
  (form.querySelector(".main") as HTMLButtonElement).disabled = status.name === "ended";
  for (const { state, errors, key, comment: text, author: by } of posts) {
    if (state !== "failed" || !errors.length || comment.value) continue;
    if (!board.cancel(key)) continue;
    edit(text, by);
    for (const { field, code, detail } of errors) complain(field, code, detail);
  }
}

export function compose(): void {
  if (!form) return;
  if (/Mac|iP/.test(navigator.platform)) form.querySelector("kbd")!.textContent = "⌘";
  author.value ||= remembered("name");
  comment.value ||= remembered(draft);
  counter.hidden = false;
  edited();
  comment.addEventListener("input", edited);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  form.addEventListener("keydown", (event) => {
    const wishes = event.ctrlKey || event.metaKey;
    const isPressed = (event.target as Element).matches("button");
    if (event.key !== "Enter" || isPressed || (!wishes && event.target === comment)) return;
    // Nor does Enter send from the field of the name; and one that ends a composition never.
    event.preventDefault();
    if (wishes && !event.isComposing && event.keyCode !== 229) send();
  });
}
