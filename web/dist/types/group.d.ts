import type { Env, Signal } from "./env.js";
import type { List } from "./list.js";
import { Replica } from "./replica.js";
export interface GroupDeps {
    readonly env: Env;
    readonly id: string;
    readonly url: string;
    readonly heartbeatMs: number;
    readonly boardsMax: number;
    readonly share: boolean;
    readonly identity: string;
    readonly ticket: string;
    /** A board's list or status changed. */
    changed(board: string): void;
}
export declare class Group {
    #private;
    readonly replica: Replica;
    constructor(deps: GroupDeps);
    start(): void;
    stop(): void;
    /** A list that the page has already is a place to begin. */
    offer(board: string, list: List): void;
    /** Follows a board. */
    want(board: string): void;
    unwant(board: string): void;
    /** Looks whether the connection is alive; `force`: opens it again in any case. */
    check(force: boolean): void;
    signal(signal: Signal): void;
    /** Another reader is signed in: what was shown to the one before is cleared, in all tabs. */
    identify(name: string): void;
}
