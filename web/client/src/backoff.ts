// How long to wait before the next attempt.

const FIRST_MS = 1_000;
const LONGEST_MS = 30_000;

/**
 * Full jitter: a random time up to a limit that doubles with each failure, so that clients that
 * lost their connections together do not come back together. `random` is in [0, 1).
 */
export function backoff(failures: number, random: number): number {
  return random * Math.min(LONGEST_MS, FIRST_MS * 2 ** failures);
}
