import type { Env } from "./env.js";
import type { Replica, StreamEvent } from "./replica.js";
export interface ConnectionDeps {
    readonly env: Env;
    readonly url: string;
    readonly heartbeatMs: number;
    /** Of the only board; empty without one. */
    readonly ticket: string;
    readonly replica: Replica;
    /** Applies an event in all tabs. False: a list differs from the server's. */
    emit(boards: readonly string[], event: StreamEvent): boolean;
}
export declare class Connection {
    #private;
    readonly boards: Set<string>;
    constructor(deps: ConnectionDeps);
    /** Opens a stream of the boards, in the place of the one before. */
    open(): Promise<void>;
    close(): void;
    /**
     * Looks whether the stream is alive, because the page was not, or the network changed. `force`:
     * opens it again in any case.
     */
    check(force: boolean): void;
    /** The device says that it has no network. Whatever still arrives proves it wrong. */
    wentOffline(): void;
    /** Says how it stands, to boards and tabs that come later. */
    announce(): void;
}
