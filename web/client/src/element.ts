// <kairanban-board board="…">: a live board in any page, with one script tag.

import type { Board, BoardState, Client, Post, Topic } from "./api.js";
import { STYLE } from "./element_style.js";
import { words } from "./element_words.js";
import { connect } from "./index.js";

const LIMIT = 20;
/** All elements of a page share a client per server; one with a ticket has its own. */
const clients = new Map<string, Client>();

function clientOf(server: string, ticket: string): Client {
  const url = server === location.origin ? "" : server;
  const key = server + ticket;
  if (!clients.has(key)) clients.set(key, connect({ url, ticket }));
  return clients.get(key)!;
}

type Children = readonly (Node | string)[];

/** Makes an element; text is text, whatever it holds. */
function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Record<string, string>,
  ...children: Children
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes))
    element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}

export class KairanbanBoard extends HTMLElement {
  static readonly observedAttributes = ["board", "server", "limit", "lang", "no-post", "ticket"];

  #board: Board | undefined;
  #end = () => {};
  #ticks: ReturnType<typeof setInterval> | undefined;
  /** The rows that are shown, each with what it shows. */
  #rows = new Map<string, { of: Topic | Post; row: HTMLElement }>();
  readonly #state = make("span", { part: "state", role: "status" });
  readonly #list = make("ol", {});
  readonly #empty = make("p", {});
  #form: HTMLFormElement | undefined;

  connectedCallback(): void {
    this.#start();
  }

  disconnectedCallback(): void {
    this.#stop();
  }

  attributeChangedCallback(): void {
    if (!this.isConnected || !this.#board) return;
    this.#stop();
    this.#start();
  }

  get #words() {
    return words(this.lang || this.closest("[lang]")?.getAttribute("lang") || navigator.language);
  }

  #start(): void {
    const name = this.getAttribute("board") ?? "main";
    const url = new URL(
      this.getAttribute("server") ?? "/",
      this.hasAttribute("server") ? location.href : import.meta.url,
    ).origin;
    this.#board = clientOf(url, this.getAttribute("ticket") ?? "").board(name);
    this.#build(name, `${url}/b/${name}`);
    this.#end = this.#board.subscribe(() => this.#show());
    // Seconds that are counted down change without an event.
    this.#ticks = setInterval(() => this.#show(), 1_000);
    this.#show();
  }

  #stop(): void {
    this.#end();
    clearInterval(this.#ticks);
    this.#board = undefined;
    this.#rows.clear();
    this.#list.replaceChildren();
  }

  #build(name: string, address: string): void {
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open", delegatesFocus: false });
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    root.adoptedStyleSheets = [style];
    this.#empty.textContent = this.#words.empty;
    this.#form = this.matches("[no-post],[ticket]") ? undefined : this.#makeForm();
    const link = make("a", { href: address }, this.#words.whole);
    root.replaceChildren(
      make("header", { part: "header" }, make("strong", {}, name), this.#state),
      ...(this.#form ? [this.#form] : []),
      this.#list,
      this.#empty,
      make("footer", { part: "footer" }, link),
    );
  }

  #makeForm(): HTMLFormElement {
    const { label, name, send, full } = this.#words;
    const text = make("textarea", { "aria-label": label, placeholder: label, dir: "auto" });
    const author = make("input", {
      "aria-label": name,
      placeholder: name,
      autocomplete: "nickname",
      dir: "auto",
    });
    const fault = make("p", { role: "alert", hidden: "" }, full);
    const form = make(
      "form",
      { part: "form", novalidate: "" },
      text,
      make("div", {}, author, make("button", {}, send)),
      fault,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const key = this.#board?.post(text.value, author.value);
      fault.hidden = key !== null;
      if (key) text.value = "";
    });
    text.addEventListener("keydown", (event) => {
      // Enter that ends a composition is no wish to send.
      if (
        event.key !== "Enter" ||
        !(event.ctrlKey || event.metaKey) ||
        event.isComposing ||
        event.keyCode === 229
      )
        return;
      event.preventDefault();
      form.requestSubmit();
    });
    return form;
  }

  #show(): void {
    const state = this.#board?.getSnapshot();
    if (!state) return;
    this.#showStatus(state);
    const limit = Number(this.getAttribute("limit")) || LIMIT;
    const newest = state.topics.slice(-limit);
    const items = [...newest, ...state.posts].reverse();
    const rows = items.map((item) => this.#row(item));
    const keys = new Set(items.map(keyOf));
    for (const [key, { row }] of this.#rows) {
      if (keys.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    // A row that stays is not moved, so that focus and selection stay, too.
    rows.forEach(
      (row, at) =>
        this.#list.children[at] !== row &&
        this.#list.insertBefore(row, this.#list.children[at] ?? null),
    );
    this.#empty.hidden = !state.loaded || items.length > 0;
    if (this.#form) this.#form.hidden = state.status.name === "ended";
  }

  #showStatus({ status }: BoardState): void {
    const seconds =
      status.name === "reconnecting" && status.at ? Math.ceil((status.at - Date.now()) / 1_000) : 0;
    const time = status.name === "stale" ? this.#time(status.since, { timeStyle: "short" }) : "";
    const text =
      (status.name === "ended" && status.detail) || this.#words.status(status, seconds, time);
    this.#state.dataset.state = status.name;
    if (this.#state.textContent !== text) this.#state.textContent = text;
  }

  #row(item: Topic | Post): HTMLElement {
    const key = keyOf(item);
    const known = this.#rows.get(key);
    if (known?.of === item) {
      const said = known.row.querySelector(".said");
      if (said && "key" in item) said.textContent = this.#said(item);
      return known.row;
    }
    const row = known?.row ?? make("li", { part: "topic" });
    row.replaceChildren(...("key" in item ? this.#post(item) : this.#topic(item)));
    this.#rows.set(key, { of: item, row });
    return row;
  }

  #topic({ comment, author, created_at, edited_at }: Topic): Children {
    const time = make(
      "time",
      { datetime: created_at },
      this.#time(created_at, { dateStyle: "medium", timeStyle: "short" }),
    );
    const edited = edited_at ? [make("span", {}, this.#words.edited)] : [];
    return [
      this.#meta(author, time, ...edited),
      make("p", { class: "text", part: "text", dir: "auto" }, comment),
    ];
  }

  #post(post: Post): Children {
    const { again, cancel, discard } = this.#words;
    const { key, comment, author, state } = post;
    const note = make(
      "p",
      { class: `note ${state}` },
      make("span", { class: "said" }, this.#said(post)),
    );
    if (state === "failed") {
      note.setAttribute("role", "alert");
      note.append(this.#button(again, () => this.#board?.resend(key)));
    }
    if (state !== "sending" && state !== "sent") {
      note.append(
        this.#button(state === "waiting" ? cancel : discard, () => this.#board?.cancel(key)),
      );
    }
    return [
      this.#meta(author),
      make("p", { class: "text", part: "text", dir: "auto" }, comment),
      note,
    ];
  }

  /** The server's own sentence, and when the post goes out. */
  #said(post: Post): string {
    const seconds = Math.ceil(((post.retryAt ?? 0) - Date.now()) / 1_000);
    const ours = post.detail && post.state === "failed" ? "" : this.#words.post(post, seconds);
    return [post.detail, ours].filter(Boolean).join(" ");
  }

  #meta(author: string, ...more: Children): HTMLElement {
    const name = make("span", { part: "author", dir: "auto" }, author || this.#words.anonymous);
    return make("div", { class: "meta" }, name, ...more);
  }

  #button(text: string, act: () => void): HTMLElement {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", act);
    return button;
  }

  #time(text: string, format: Intl.DateTimeFormatOptions): string {
    return new Intl.DateTimeFormat(this.#words.locale, format).format(new Date(text));
  }
}

const keyOf = (item: Topic | Post) => ("key" in item ? item.key : `${item.id}`);

if (!customElements.get("kairanban-board"))
  customElements.define("kairanban-board", KairanbanBoard);
