import type { InitialList, Topic } from "./api.js";
/** The live list at one revision, in the order of ids. Never changed in place. */
export interface List {
    readonly topics: readonly Topic[];
    readonly revision: number;
    /** Where a stream may go on from; empty if unknown. It may lag behind `revision`. */
    readonly cursor: string;
}
export interface SnapshotData {
    readonly revision: number;
    readonly digest: string;
    readonly topics: readonly Topic[];
}
export type Op = {
    readonly op: "set";
    readonly topic: Topic;
} | {
    readonly op: "delete";
    readonly id: number;
};
export interface PatchData {
    readonly from: number;
    readonly revision: number;
    readonly digest: string;
    readonly ops: readonly Op[];
}
/** The revision of a cursor, `<epoch>-<revision>`. */
export declare const revisionOf: (cursor: string) => number;
/** The list of a snapshot; null if its digest differs. */
export declare function fromSnapshot(data: SnapshotData, cursor: string): List | null;
/** The list that a page was rendered with. */
export declare function fromPage({ topics, cursor }: InitialList): List;
/** The list after a patch; the same one if it has the patch; null if it cannot be applied. */
export declare function patched(list: List, data: PatchData, cursor: string): List | null;
/** The list as of a later cursor, at which it is the same. */
export declare function reached(list: List, revision: number, cursor: string): List;
/**
 * The cursor that none of the lists is before: what follows it, all of them can apply. Undefined
 * if they are of different histories.
 */
export declare function leastCursor(lists: readonly List[]): string | undefined;
/** Whether the second list is of another history, or not older than the first. */
export declare function isNewer(list: List | null, other: List): boolean;
