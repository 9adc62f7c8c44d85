import type { Post, Topic } from "./api.js";
import type { Reply } from "./ask.js";
/** A post, with what only the client needs to know of it. */
export interface OwnPost extends Post {
    /** No topic up to this id is this post. */
    readonly after: number;
    /** When it was first sent; null before. */
    readonly sentAt: number | null;
    readonly tries: number;
    /** What it became, once that is known. */
    readonly topic: {
        readonly id: number;
        readonly revision: number;
    } | null;
}
/** How many may wait. */
export declare const WAITING_MAX = 20;
export type Outbox = readonly OwnPost[];
export declare const isWaiting: ({ state }: Post) => boolean;
/** Adds a post; null if too many are waiting. */
export declare function added(outbox: Outbox, post: Pick<OwnPost, "key" | "board" | "comment" | "author" | "at" | "after">): Outbox | null;
/** After a reload: what was on its way may have arrived. */
export declare function reloaded(outbox: Outbox): Outbox;
/** The next post to send, one after the other in the order in which they were written. */
export declare function next(outbox: Outbox): OwnPost | undefined;
/** A post is about to be sent; or it is too old for that. */
export declare function sending(outbox: Outbox, key: string, now: number): Outbox;
/** The server answered, or did not. */
export declare function answered(outbox: Outbox, key: string, reply: Reply, now: number, random: number): Outbox;
/** Sends a post again, now. One whose key may have expired gets another. */
export declare function resent(outbox: Outbox, key: string, newKey: string): Outbox;
export declare const without: (outbox: Outbox, key: string) => Outbox;
/**
 * The own posts of a board that its list does not show. The list may show one before the answer
 * to it arrives, or although that was lost: then it is known by its text. `own` are the topics that
 * posts before them became; those that are found are added.
 */
export declare function unseen(posts: Outbox, topics: readonly Topic[], revision: number, own: Set<number>): Outbox;
