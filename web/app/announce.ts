// Says what came to those who do not see it: at most every few seconds, and of many only how many.

import type { BoardState, Topic } from "../client/src/api.js";
import { board, get, put, say } from "./shared.js";

const PAUSE_MS = 5_000;
const SAID_MAX = 3;
const SAID_CHARS_MAX = 100;

let announced = board.getSnapshot().topics.at(-1)?.id ?? 0;
let queue: Topic[] = [];
let pausing = false;

export function tell({ topics, own }: BoardState): void {
  queue.push(...topics.filter(({ id }) => id > announced && !own.has(id)));
  announced = Math.max(announced, topics.at(-1)?.id ?? 0);
  speak();
}

function speak(): void {
  if (pausing || !queue.length) return;
  const texts = queue.map(({ author, comment }) =>
    say("from", author || say("anonymous")) + [...comment].slice(0, SAID_CHARS_MAX).join(""),
  );
  put(get("log"), texts.length > SAID_MAX ? say("came", texts.length) : texts.join(" "));
  queue = [];
  pausing = true;
  setTimeout(() => {
    pausing = false;
    speak();
  }, PAUSE_MS);
}
