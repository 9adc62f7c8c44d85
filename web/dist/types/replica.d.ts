import type { Status } from "./api.js";
import { type List } from "./list.js";
/** An event of a stream, or one of ours that goes the same way. */
export interface StreamEvent {
    readonly name: string;
    readonly data: any;
    /** The stream's cursor behind this event; empty if it has none yet. */
    readonly id: string;
}
type Ended = Extract<Status, {
    name: "ended";
}>;
/** One board. Never changed in place. */
export interface Entry {
    readonly list: List | null;
    /** Of the connection. */
    readonly link: Status;
    /** Since when the server has not been able to read the board. */
    readonly stale: string | null;
    readonly ended: Ended | null;
}
export declare class Replica {
    #private;
    constructor(changed: (board: string) => void);
    get(board: string): Entry;
    set(board: string, change: Partial<Entry>): void;
    /** Drops everything. */
    clear(): void;
    status(board: string): Status;
    /** Takes over what another tab knows of a board, unless this one is further. */
    merge(board: string, entry: Entry): void;
    /** Applies an event of a stream of these boards. False: the list differs from the server's. */
    apply(boards: readonly string[], { name, data, id }: StreamEvent): boolean;
}
export {};
