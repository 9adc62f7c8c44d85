// Makes the board page live. Without this the page works by reloading.
//
// The browser's own EventSource holds the stream, comes back by itself and says where it stood. The
// page begins at the cursor that it was rendered at, so nothing falls between page and stream.
// @ts-check

const main = /** @type {HTMLElement} */ (document.querySelector("main[data-board]"));
const list = /** @type {HTMLElement} */ (document.getElementById("topics"));
const empty = /** @type {HTMLElement} */ (document.getElementById("empty"));
const state = /** @type {HTMLElement} */ (document.getElementById("state"));
const blank = /** @type {HTMLTemplateElement} */ (document.getElementById("topic"));
// Not there where the reader may not post.
const form = /** @type {HTMLFormElement} */ (document.getElementById("post"));

/** @typedef {{id: number, comment: string, author: string, created_at: string, updated_at: string, edited_at: string | null, revision: number}} Topic */
/** @typedef {{op: "set", topic: Topic} | {op: "delete", id: number}} Op */

/** @type {Record<string, string>} */
const words = JSON.parse(main.dataset.words ?? "{}");
const language = document.documentElement.lang;

// ---------------------------------------------------------------- times, in the zone of the boards

/** @param {Intl.DateTimeFormatOptions} options */
const writer = (options) => new Intl.DateTimeFormat(language === "ja" ? "ja-JP" : "en-GB", { ...options, timeZone: main.dataset.zone });
const full = writer({ weekday: language === "ja" ? "short" : "long", day: "numeric", month: language === "ja" ? "numeric" : "long", year: "numeric" });
const short = writer({ weekday: "short", day: "numeric", month: language === "ja" ? "numeric" : "short", year: "numeric" });
const iso = writer({ day: "2-digit", month: "2-digit", year: "numeric" });
const time = writer({ hour: "numeric", minute: "2-digit", hourCycle: "h23" });

/** @param {Intl.DateTimeFormat} format @param {Date} at @returns {Record<string, string>} */
const parts = (format, at) => Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]));

/** @param {Date} at */
function dayOf(at) {
  const { year, month, day } = parts(iso, at);
  return `${year}-${month}-${day}`;
}

/** @param {Date} at */
function clock(at) {
  const { hour, minute } = parts(time, at);
  return `${Number(hour)}:${minute}`;
}

/** @param {Date} at */
function heading(at) {
  const { weekday, day, month, year } = parts(full, at);
  return language === "ja" ? `${year}年${month}月${day}日（${weekday}）` : `${weekday} ${day} ${month} ${year}`;
}

const A_DAY_MS = 86_400_000;

/** The same words as the server's. @param {Date} at @param {Date} now */
function ago(at, now) {
  const minutes = Math.floor((now.getTime() - at.getTime()) / 60_000);
  const [day, today] = [dayOf(at), dayOf(now)];
  if (minutes < 1) return words.now;
  if (minutes < 60) return words.minutes.replace("{n}", String(minutes));
  if (day === today) return words.hours.replace("{n}", String(Math.floor(minutes / 60)));
  const days = Math.round((Date.parse(today) - Date.parse(day)) / A_DAY_MS);
  if (days === 1) return words.yesterday_at.replace("{time}", clock(at));
  const { weekday, day: date, month, year } = parts(short, at);
  if (days < 7) return language === "ja" ? `${weekday}曜 ${clock(at)}` : `${weekday} ${clock(at)}`;
  const thisYear = today.startsWith(year);
  if (language === "ja") return `${thisYear ? "" : `${year}年`}${month}月${date}日`;
  return `${date} ${month}${thisYear ? "" : ` ${year}`}`;
}

/** @param {HTMLTimeElement} element @param {Date} now */
function showTime(element, now) {
  const at = new Date(element.dateTime);
  if (Number.isNaN(at.getTime())) return;
  const said = ago(at, now);
  if (element.textContent !== said) element.textContent = said;
  element.title ||= `${heading(at)} ${clock(at)}`;
}

function showTimes() {
  const now = new Date();
  list.querySelectorAll(".when time").forEach((element) => showTime(/** @type {HTMLTimeElement} */ (element), now));
}

/** Puts each day's heading into its first topic, and counts the topics. */
function arrange() {
  const now = new Date();
  const [today, yesterday] = [dayOf(now), dayOf(new Date(now.getTime() - A_DAY_MS))];
  let above = "";
  [...list.children].forEach((item, place) => {
    const at = new Date(/** @type {HTMLTimeElement} */ (item.querySelector(".when time")).dateTime);
    const day = dayOf(at);
    const old = item.querySelector(".day");
    if (day === above) old?.remove();
    else {
      const shown = /** @type {HTMLElement} */ (old ?? document.createElement("h2"));
      const word = day === today ? words.today : day === yesterday ? words.yesterday : "";
      if (!old || shown.dataset.word !== word) {
        const date = Object.assign(document.createElement("time"), { dateTime: day, textContent: heading(at) });
        shown.className = "day";
        shown.dataset.word = word;
        shown.replaceChildren(...(word ? [Object.assign(document.createElement("b"), { textContent: word })] : []), date);
      }
      if (!old) item.prepend(shown);
    }
    above = day;
    item.setAttribute("aria-posinset", String(place + 1));
    item.setAttribute("aria-setsize", String(list.childElementCount));
  });
  empty.hidden = list.childElementCount > 0;
  list.hidden = !empty.hidden;
  const count = document.getElementById("count");
  if (count) count.textContent = list.childElementCount.toLocaleString("en");
}

// ---------------------------------------------------------------- the list

/** The links of a comment, by the rule of the server. @param {string} text @returns {(string | HTMLAnchorElement)[]} */
export function pieces(text) {
  const all = [];
  let from = 0;
  for (const found of text.matchAll(/https?:\/\/[a-z0-9[][-a-z0-9._~:/?#[\]@!$&'()*+,;=%]*/gi)) {
    if (/[a-z0-9]/i.test(text[found.index - 1] ?? "")) continue;
    let address = found[0];
    const closes = (/** @type {string} */ open, /** @type {string} */ close) => address.endsWith(close) && address.split(close).length > address.split(open).length;
    while (/[.,:;!?'*([]$/.test(address) || closes("(", ")") || closes("[", "]")) address = address.slice(0, -1);
    if (address.endsWith("/") && address.length < 9) continue;
    if (from < found.index) all.push(text.slice(from, found.index));
    all.push(Object.assign(document.createElement("a"), { href: address, rel: "nofollow ugc noopener", textContent: address }));
    from = found.index + address.length;
  }
  if (from < text.length) all.push(text.slice(from));
  return all;
}

/** @param {string} author */
function seal(author) {
  const [first = ""] = author.trim();
  const upper = first.toUpperCase();
  return [...upper].length === 1 ? upper : first;
}

/** @param {Topic} topic */
function set(topic) {
  const known = document.getElementById(`topic-${topic.id}`);
  const fresh = /** @type {HTMLElement} */ (/** @type {Element} */ (blank.content.firstElementChild).cloneNode(true));
  const item = known ?? fresh;
  const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (fresh.querySelector(name));
  item.id = `topic-${topic.id}`;
  item.dataset.id = String(topic.id);
  item.dataset.revision = String(topic.revision);
  item.setAttribute("aria-labelledby", (part(".author").id = `by-${topic.id}`));
  item.setAttribute("aria-describedby", (part(".comment").id = `text-${topic.id}`));
  part(".comment").replaceChildren(...pieces(topic.comment));
  part(".author").textContent = topic.author || words.anonymous;
  part(".author").classList.toggle("unnamed", !topic.author);
  part(".seal").textContent = seal(topic.author);
  part(".seal").classList.toggle("unnamed", !topic.author);
  if (!topic.edited_at) part(".edited").remove();
  /** @type {HTMLAnchorElement} */ (part(".when")).href = `/b/${main.dataset.board}/topics/${topic.id}`;
  const at = /** @type {HTMLTimeElement} */ (part("time"));
  at.dateTime = topic.created_at;
  showTime(at, new Date());
  if (known) known.querySelector(".slip")?.replaceWith(part(".slip"));
  else place(item, topic.id);
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
  arrange();
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
  state.textContent = words[now] ?? "";
  if (now === "live") document.getElementById("band")?.remove();
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

// ---------------------------------------------------------------- the theme, without another page

const THEMES = ["system", "light", "dark"];
const switches = /** @type {NodeListOf<HTMLFormElement>} */ (document.querySelectorAll("form.theme"));

/** @param {SubmitEvent} event */
function switchTheme(event) {
  event.preventDefault();
  const theme = /** @type {HTMLButtonElement} */ (event.submitter).value;
  document.cookie = `kairanban-theme=${theme}; Path=/; Max-Age=31536000; SameSite=Lax`;
  document.documentElement.dataset.theme = theme;
  for (const { elements } of switches) {
    const button = /** @type {HTMLButtonElement} */ (elements.namedItem("theme"));
    button.value = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    button.title = words[`theme_${theme}`];
    button.setAttribute("aria-label", button.title);
  }
}

switches.forEach((form) => form.addEventListener("submit", switchTheme));
showTimes();
arrange();
setInterval(() => (showTimes(), arrange()), 60_000);
if (state.dataset.state !== "stale") show("connecting");
connect();
