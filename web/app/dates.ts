// Days and times, in the zone of the boards and the words of the server.

import { copy, find, list, main, put, say } from "./page.js";

const isJapanese = document.documentElement.lang === "ja";
const writer = (options: Intl.DateTimeFormatOptions, locale = isJapanese ? "ja" : "en-GB") => {
  const format = new Intl.DateTimeFormat(locale, { ...options, timeZone: main.dataset.zone! });
  return (at: Date) => format.format(at);
};
/** Swedes write 2026-11-25 12:04. */
const exact = writer({ dateStyle: "short", timeStyle: "short" }, "sv");
const full = writer({ dateStyle: isJapanese ? "long" : "full" });
const weekday = writer({ weekday: "short" });
const monthDay = writer({ day: "numeric", month: isJapanese ? "long" : "short" });

const A_DAY_MS = 86_400_000;

export const dayOf = (at: Date) => exact(at).slice(0, 10);
export const clock = (at: Date) => exact(at).slice(11).replace(/^0/, "");

/** A day in full. */
export const heading = (at: Date) =>
  full(at).replace(",", "") + (isJapanese ? `（${weekday(at)}）` : "");

/** Today, yesterday, or nothing. */
export function dayWord(day: string): string {
  const now = Date.now();
  const is = (ms: number) => day === dayOf(new Date(now - ms));
  return is(0) ? say("today") : is(A_DAY_MS) ? say("yesterday") : "";
}

/** The same words as the server's. */
function ago(at: Date, now: Date): string {
  const minutes = Math.floor((+now - +at) / 60_000);
  const [day, today] = [dayOf(at), dayOf(now)];
  if (minutes < 1) return say("now");
  if (minutes < 60) return say("minutes", minutes);
  if (day === today) return say("hours", Math.floor(minutes / 60));
  const days = Math.round((Date.parse(today) - Date.parse(day)) / A_DAY_MS);
  if (days === 1) return say("yesterday_at", clock(at));
  if (days < 7) return `${weekday(at)}${isJapanese ? "曜" : ""} ${clock(at)}`;
  const year = day.slice(0, 4);
  const date = monthDay(at);
  return today.startsWith(year) ? date : isJapanese ? `${year}年${date}` : `${date} ${year}`;
}

export const timeOf = (row: Element) =>
  new Date(find<HTMLTimeElement>(row, ".when time").dateTime);

export function showTime(row: Element): void {
  const element = find(row, ".when time");
  const at = timeOf(row);
  put(element, ago(at, new Date()));
  element.title ||= `${heading(at)} ${clock(at)}`;
}

/** Puts each day's heading into its first topic, and counts them. */
export function arrange(): void {
  const rows = [...list.children];
  let above = "";
  rows.forEach((row, place) => {
    const at = timeOf(row);
    const day = dayOf(at);
    let shown = row.querySelector<HTMLElement>(".day");
    const word = dayWord(day);
    if (shown && (day === above || shown.dataset.word !== word)) {
      shown.remove();
      shown = null;
    }
    if (!shown && day !== above) {
      row.prepend((shown = copy("day")));
      shown.dataset.word = find(shown, "b").textContent = word;
      const date = find<HTMLTimeElement>(shown, "time");
      date.textContent = heading(at);
      date.dateTime = day;
    }
    above = day;
    row.ariaPosInSet = `${place + 1}`;
    row.ariaSetSize = `${rows.length}`;
  });
}
