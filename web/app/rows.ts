// The rows of the list.

import type { InitialList, Topic } from "../client/src/api.js";
import { showTime } from "./dates.js";
import { copy, find, list, name, say } from "./page.js";

/** The links of a comment, by the rule of the server. */
function pieces(text: string): (string | HTMLAnchorElement)[] {
  const all = [];
  let from = 0;
  for (const found of text.matchAll(/https?:\/\/[a-z0-9[][-a-z0-9._~:/?#[\]@!$&'()*+,;=%]*/gi)) {
    if (/[a-z0-9]/i.test(text[found.index - 1] ?? "")) continue;
    let href = found[0];
    const closes = (open: string, close: string) =>
      href.endsWith(close) && href.split(close).length > href.split(open).length;
    while (/[.,:;!?'*([]$/.test(href) || closes("(", ")") || closes("[", "]"))
      href = href.slice(0, -1);
    if (href.endsWith("/") && href.length < 9) continue;
    all.push(text.slice(from, found.index));
    const link = { href, rel: "nofollow ugc noopener", textContent: href };
    all.push(Object.assign(document.createElement("a"), link));
    from = found.index + href.length;
  }
  return [...all, text.slice(from)].filter(Boolean);
}

function seal(author: string): string {
  const [first = ""] = author.trim();
  const upper = first.toUpperCase();
  return [...upper].length === 1 ? upper : first;
}

type Shown = Pick<Topic, "comment" | "author" | "created_at" | "edited_at">;

/** Says which of its texts name and describe a row. */
export function label(row: HTMLElement, within: Element, id: string): void {
  row.id = `topic-${id}`;
  row.setAttribute("aria-labelledby", (find(within, ".author").id = `by-${id}`));
  row.setAttribute("aria-describedby", (find(within, ".comment").id = `text-${id}`));
}

/** Draws a row again, but for what stands above its slip: the day and the place where one left off. */
export function draw(row: HTMLElement, id: string, topic: Shown, isOwn: boolean): void {
  const fresh = copy("topic");
  const part = (selector: string) => find(fresh, selector);
  const [author, comment, ring] = [part(".author"), part(".comment"), part(".seal")];
  const edited = part(".edited");
  label(row, fresh, id);
  comment.append(...pieces(topic.comment));
  author.textContent = topic.author || say("anonymous");
  ring.textContent = seal(topic.author);
  for (const element of [author, ring]) element.classList.toggle("unnamed", !topic.author);
  ring.classList.toggle("yours", isOwn);
  if (!isOwn) part(".tag").remove();
  if (topic.edited_at) edited.dataset.at = topic.edited_at;
  else edited.remove();
  find<HTMLTimeElement>(fresh, "time").dateTime = topic.created_at;
  showTime(fresh);
  const hadFocus = row.contains(document.activeElement);
  row.classList.remove("gone");
  row.querySelector(".slip")?.remove();
  row.append(part(".slip"));
  if (hadFocus) row.focus();
}

/** The row with this id, or a new one. */
export function row(id: string): HTMLElement {
  const known = document.getElementById(`topic-${id}`);
  if (known) return known;
  const fresh = copy("topic");
  fresh.replaceChildren();
  fresh.classList.add("new");
  return fresh;
}

export function topicRow(topic: Topic, isOwn: boolean): HTMLElement {
  const known = row(`${topic.id}`);
  const { dataset } = known;
  if (dataset.revision !== `${topic.revision}` || isOwn === !known.querySelector(".yours")) {
    dataset.revision = `${topic.revision}`;
    draw(known, `${topic.id}`, topic, isOwn);
    find<HTMLAnchorElement>(known, ".when").href = `/b/${name}/topics/${topic.id}`;
  }
  return known;
}

/** The id of a row's topic; NaN if it is a post. */
export const idOf = (row: Element) => Number(row.id.slice(6));

/** The topics that the server rendered; labels their rows. */
export function rendered(): InitialList["topics"] {
  return [...list.children].map((element) => {
    const row = element as HTMLElement;
    label(row, row, row.id.slice(6));
    const author = find(row, ".author");
    return {
      id: idOf(row),
      revision: Number(row.dataset.revision),
      comment: find(row, ".comment").textContent,
      author: author.matches(".unnamed") ? "" : author.textContent,
      created_at: find<HTMLTimeElement>(row, ".when time").dateTime,
      edited_at: row.querySelector<HTMLElement>(".edited")?.dataset.at ?? null,
    };
  });
}
