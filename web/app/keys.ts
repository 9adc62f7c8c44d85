// Keys: through the topics as in any feed, and single letters, which can be turned off.

import { find, get, leftOff, list, remembered } from "./shared.js";
import { remember } from "./remember.js";

const FIELDS = "input,textarea,select,[contenteditable]";

export function keys(): void {
  const box = document.getElementById("keys");
  const letters = box && find<HTMLInputElement>(box, "input");
  if (letters) {
    letters.checked = remembered("keys") !== "off";
    letters.addEventListener("change", () => remember("keys", letters.checked ? "on" : "off"));
  }
  const targets: Record<string, () => HTMLElement | null | undefined> = {
    n: () => document.getElementById("comment"),
    "/": () => document.getElementById("q"),
    u: leftOff,
    "?": () => box,
  };
  document.addEventListener("keydown", (event) => {
    const { key, ctrlKey, metaKey, altKey } = event;
    const at = event.target as HTMLElement;
    if (event.isComposing || altKey || metaKey || at.matches(FIELDS)) return;
    const row = list.contains(at) && at.closest(".topic");
    let to: Element | null | undefined;
    if (row && key === "PageDown") to = row.nextElementSibling;
    else if (row && key === "PageUp") to = row.previousElementSibling;
    else if (row && ctrlKey && key === "Home") to = document.getElementById("comment") ?? get("main");
    else if (row && ctrlKey && key === "End") to = document.querySelector(".older a,.rail a");
    else if (!ctrlKey && letters?.checked) to = targets[key]?.();
    if (!to) return;
    event.preventDefault();
    (to as HTMLElement).focus();
  });
}
