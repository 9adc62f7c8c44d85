import { type ConnectionDeps } from "./connection.js";
export declare class Streams {
    #private;
    constructor(deps: ConnectionDeps, boardsMax: number);
    /** Follows these boards. Opens a stream again only if its boards changed. */
    follow(wanted: ReadonlySet<string>): void;
    announce(): void;
    check(force: boolean): void;
    wentOffline(): void;
    close(): void;
}
