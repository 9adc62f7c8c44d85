// Follows a board with a library that is not ours, as its own documents show, and prints each event as a line of JSON.
//
//     node follow.js LIBRARY URL
//
// The library reconnects by itself, until the stream says that it ends for good. tests/it/foreign_clients reads the lines.

import { fetchEventSource } from "@microsoft/fetch-event-source";
import { EventSource } from "eventsource";

// Whatever happens to the test, this ends.
setTimeout(() => process.exit(1), 120_000).unref();

/** Prints an event. Returns whether it is the last one. */
function take(event, id, data) {
  console.log(JSON.stringify({ event, id, data }));
  return event === "bye" && ["gone", "auth"].includes(JSON.parse(data).reason);
}

const names = ["message", "snapshot", "patch", "reset", "stale", "fresh", "bye"];

/** @param {boolean} heeds whether it heeds `bye`; a page that does not know it relies on the status of the next answer */
function followWithEventSource(url, heeds) {
  const source = new EventSource(url);
  for (const name of names) {
    source.addEventListener(name, (event) => {
      if (take(event.type, event.lastEventId, event.data) && heeds) source.close();
    });
  }
  source.addEventListener("error", (event) => {
    if (source.readyState === EventSource.CLOSED) console.log(JSON.stringify({ event: "refused", id: "", data: String(event.code) }));
  });
}

async function followWithFetch(url) {
  // It is written for pages.
  Object.assign(globalThis, { window: globalThis, document: new EventTarget() });
  const controller = new AbortController();
  await fetchEventSource(url, {
    openWhenHidden: true,
    signal: controller.signal,
    onmessage({ event, id, data }) {
      if (take(event, id, data)) controller.abort();
    },
    onclose() {
      // It takes the end of an answer for the end of all, unless this throws.
      throw new Error("the stream ended");
    },
    onerror(error) {
      console.error(`${error}`);
    },
  });
}

const [library, url] = process.argv.slice(2);
const libraries = {
  eventsource: () => followWithEventSource(url, true),
  "eventsource that ignores bye": () => followWithEventSource(url, false),
  "fetch-event-source": () => followWithFetch(url),
};
await libraries[library]();
