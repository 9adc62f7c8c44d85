import { type Env } from "./env.js";
import { type Outbox, type OwnPost } from "./outbox.js";
export interface PostingDeps {
    readonly env: Env;
    readonly url: string;
    /** The posts of a board changed. */
    changed(board: string): void;
}
export declare class Posting {
    #private;
    /** The ids of topics that this tab posted. */
    own: ReadonlySet<number>;
    constructor(deps: PostingDeps);
    of(board: string): Outbox;
    /** Whether closing the tab now would lose a post. One that is on its way arrives all the same. */
    get isWaiting(): boolean;
    add(post: Pick<OwnPost, "board" | "comment" | "author" | "after">): string | null;
    resend(board: string, key: string): void;
    cancel(board: string, key: string): boolean;
    /** The list shows these posts now. */
    settle(posts: Outbox): void;
    /** The network is back: nothing waits for its time. */
    hurry(): void;
    /** Sends what waits. */
    flush(): void;
}
