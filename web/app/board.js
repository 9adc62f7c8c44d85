// Makes the board page live. Without this the page works by reloading.
//
// The browser's own EventSource holds the stream, comes back by itself and says where it stood. The
// page begins at the cursor that it was rendered at, so nothing falls between page and stream.
// @ts-check

const main = /** @type {HTMLElement} */ (document.querySelector("main[data-board]"));
const list = /** @type {HTMLOListElement} */ (document.getElementById("topics"));
const empty = /** @type {HTMLElement} */ (document.getElementById("empty"));
const state = /** @type {HTMLElement} */ (document.getElementById("state"));
const blank = /** @type {HTMLTemplateElement} */ (document.getElementById("topic"));
// Not there where the reader may not post.
const form = /** @type {HTMLFormElement} */ (document.getElementById("post"));

/** @typedef {{id: number, comment: string, author: string, created_at: string, updated_at: string, edited_at: string | null, revision: number}} Topic */
/** @typedef {{op: "set", topic: Topic} | {op: "delete", id: number}} Op */

// ---------------------------------------------------------------- the list

const times = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });

/** @param {HTMLTimeElement} element */
function showLocalTime(element) {
  const at = new Date(element.dateTime);
  if (!Number.isNaN(at.getTime())) element.textContent = times.format(at);
}

/** @param {Topic} topic */
function set(topic) {
  const known = document.getElementById(`topic-${topic.id}`);
  const item = known ?? /** @type {HTMLElement} */ (/** @type {Element} */ (blank.content.firstElementChild).cloneNode(true));
  item.id = `topic-${topic.id}`;
  item.dataset.id = String(topic.id);
  const filled = /** @type {Element} */ (blank.content.firstElementChild).cloneNode(true);
  item.replaceChildren(.../** @type {Element} */ (filled).childNodes);
  /** @type {HTMLElement} */ (item.querySelector(".comment")).textContent = topic.comment;
  /** @type {HTMLElement} */ (item.querySelector(".author")).textContent = topic.author;
  /** @type {HTMLElement} */ (item.querySelector(".edited")).hidden = !topic.edited_at;
  const time = /** @type {HTMLTimeElement} */ (item.querySelector("time"));
  time.dateTime = topic.created_at;
  showLocalTime(time);
  if (!known) place(item, topic.id);
}

/**
 * The newest stands first; a topic is never moved.
 * @param {HTMLElement} item
 * @param {number} id
 */
function place(item, id) {
  const older = [...list.children].find((other) => Number(/** @type {HTMLElement} */ (other).dataset.id) < id);
  item.classList.add("new");
  list.insertBefore(item, older ?? null);
}

/** @param {Op[]} ops */
function apply(ops) {
  for (const op of ops) {
    if (op.op === "set") set(op.topic);
    else document.getElementById(`topic-${op.id}`)?.remove();
  }
  empty.hidden = list.childElementCount > 0;
}

/** @param {Topic[]} topics */
function replace(topics) {
  const ids = new Set(topics.map((topic) => String(topic.id)));
  const gone = [...list.children].filter((item) => !ids.has(/** @type {HTMLElement} */ (item).dataset.id ?? ""));
  gone.forEach((item) => item.remove());
  apply(topics.map((topic) => ({ op: "set", topic })));
}

// ---------------------------------------------------------------- the stream

/** @param {"connecting" | "live" | "reconnecting" | "stale"} now */
function show(now) {
  if (state.dataset.state === now) return;
  state.dataset.state = now;
  state.textContent = state.dataset[now] ?? "";
}

let cursor = main.dataset.cursor ?? "";
let failures = 0;

function connect() {
  const source = new EventSource(`/b/${main.dataset.board}/stream?format=patch&last_event_id=${encodeURIComponent(cursor)}`);
  /** @param {string} name @param {(data: any) => void} act */
  const on = (name, act) =>
    source.addEventListener(name, (event) => {
      act(JSON.parse(event.data));
      if (event.lastEventId) cursor = event.lastEventId;
    });
  on("snapshot", (data) => replace(data.topics));
  on("patch", (data) => apply(data.ops));
  on("reset", () => (cursor = ""));
  on("stale", () => show("stale"));
  on("fresh", () => show("live"));
  source.addEventListener("open", () => {
    failures = 0;
    show("live");
  });
  source.addEventListener("error", () => {
    show("reconnecting");
    // Any answer but 200, a proxy's 502 say, ends the browser's own attempts for good.
    if (source.readyState !== EventSource.CLOSED) return;
    failures += 1;
    setTimeout(connect, Math.random() * Math.min(30_000, 1_000 * 2 ** failures));
  });
}

// ---------------------------------------------------------------- posting

/** @param {string} field @param {string} text */
function showFault(field, text) {
  const input = /** @type {HTMLElement} */ (form.elements.namedItem(field));
  input.setAttribute("aria-invalid", "true");
  const fault = Object.assign(document.createElement("p"), { className: "fault", id: `${field}-fault`, textContent: text });
  (field === "comment" ? form.querySelectorAll(".faults")[0] : form.querySelectorAll(".faults")[1]).append(fault);
}

function clearFaults() {
  form.querySelectorAll(".faults").forEach((place) => place.replaceChildren());
  form.querySelectorAll("[aria-invalid]").forEach((input) => input.removeAttribute("aria-invalid"));
  /** @type {HTMLElement} */ (document.getElementById("post-failed")).hidden = true;
}

/** The page that a refused post is answered with says what is wrong, in the reader's language. @param {string} page */
function takeFaults(page) {
  const answer = new DOMParser().parseFromString(page, "text/html");
  const faults = answer.querySelectorAll(".faults > .fault");
  faults.forEach((fault) => showFault(fault.id.replace("-fault", ""), fault.textContent ?? ""));
  return faults.length > 0;
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  clearFaults();
  button.disabled = true;
  try {
    const body = new URLSearchParams(/** @type {any} */ (new FormData(form)));
    const answer = await fetch(form.action, { method: "POST", body, redirect: "manual", headers: { Accept: "text/html" } });
    if (answer.type === "opaqueredirect" || answer.ok) {
      /** @type {HTMLTextAreaElement} */ (form.elements.namedItem("comment")).value = "";
    } else if (answer.status !== 422 || !takeFaults(await answer.text())) {
      throw new Error(`status ${answer.status}`);
    }
  } catch {
    /** @type {HTMLElement} */ (document.getElementById("post-failed")).hidden = false;
  } finally {
    button.disabled = false;
  }
});

document.querySelectorAll("time").forEach(showLocalTime);
show("connecting");
connect();
