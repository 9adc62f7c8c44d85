/**
 * Full jitter: a random time up to a limit that doubles with each failure, so that clients that
 * lost their connections together do not come back together. `random` is in [0, 1).
 */
export declare function backoff(failures: number, random: number): number;
