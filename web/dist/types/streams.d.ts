import { Connection, type ConnectionDeps } from "./connection.js";
export declare class Streams {
    #private;
    constructor(deps: ConnectionDeps, boardsMax: number);
    /** Follows these boards. Opens a stream again only if its boards changed. */
    follow(wanted: ReadonlySet<string>): void;
    /** The connection that follows a board. */
    of(board: string): Connection | undefined;
    check(force: boolean): void;
    wentOffline(): void;
    close(): void;
}
