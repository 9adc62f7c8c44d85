// The checksum of a live list, as docs/PROTOCOL.md defines it.

import type { Topic } from "./api.js";

const wrap = (x: bigint) => BigInt.asUintN(64, x);

/** One step of splitmix64. */
function mix(x: bigint): bigint {
  let z = wrap(x + 0x9e3779b97f4a7c15n);
  z = wrap((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = wrap((z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}

/** Each topic's share of the sum. Topics never change, so a patch costs what it changes. */
const shares = new WeakMap<Pick<Topic, "id" | "revision">, bigint>();

/** Sixteen hex digits, as the server sends them. */
export function digest(topics: Iterable<Pick<Topic, "id" | "revision">>): string {
  let sum = 0n;
  for (const topic of topics) {
    let share = shares.get(topic);
    if (share === undefined) {
      shares.set(topic, (share = mix(wrap(mix(wrap(BigInt(topic.id))) + BigInt(topic.revision)))));
    }
    sum += share;
  }
  return wrap(sum).toString(16).padStart(16, "0");
}
