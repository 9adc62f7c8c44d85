// The public types of the client.

/** A notice on a board, as the server sends it. Never changed in place. */
export interface Topic {
  readonly id: number;
  readonly comment: string;
  /** Empty if the author has no name. */
  readonly author: string;
  readonly created_at: string;
  readonly updated_at: string;
  /** When text or author last changed, or null. */
  readonly edited_at: string | null;
  readonly revision: number;
}

/** How much a board's list can be trusted at the moment. */
export type Status =
  /** The first list is on its way. */
  | { readonly name: "connecting" }
  /** The list is the server's; changes arrive as they happen. */
  | { readonly name: "live" }
  /**
   * The connection was lost. It goes on from where it stopped: `at` is when the next attempt
   * begins (ms since 1970), null while one is under way or the browser alone decides when.
   */
  | { readonly name: "reconnecting"; readonly at: number | null }
  /** The device has no network. */
  | { readonly name: "offline" }
  /** The server cannot read its database; the list is from `since` (RFC 3339). */
  | { readonly name: "stale"; readonly since: string }
  /**
   * For good: the board was deleted (`gone`), or may no longer be read (`auth`). Its topics are
   * cleared. `detail` is the server's sentence, if it sent one.
   */
  | { readonly name: "ended"; readonly why: "gone" | "auth"; readonly detail: string | null };

/** What becomes of one of this tab's own posts until the list shows it. */
export interface Post {
  /** Its `Idempotency-Key`. */
  readonly key: string;
  readonly board: string;
  readonly comment: string;
  readonly author: string;
  /** When it was written (ms since 1970). */
  readonly at: number;
  /**
   * - `waiting`: goes out by itself, when there is a network, or at `retryAt`
   * - `sending`: on its way
   * - `sent`: written; the list will show it in a moment
   * - `held`: written; shown to others once it is approved
   * - `failed`: refused; `detail` says why
   */
  readonly state: "waiting" | "sending" | "sent" | "held" | "failed";
  /** When it is sent again (ms since 1970), if the server or a lost connection made it wait. */
  readonly retryAt: number | null;
  /** Whether the answer to an attempt was lost: then it may be written already. */
  readonly unsure: boolean;
  /** The server's own sentence about the last attempt, or null. */
  readonly detail: string | null;
  /**
   * The stable code of the server's problem, or null. `expired`: it has waited so long that its
   * key may have expired on the server; sent again, it could appear twice.
   */
  readonly code: string | null;
  /** The fields that the server found fault with. */
  readonly errors: readonly { field: string; code: string; detail: string }[];
}

/** A board at one moment. Never changed in place: a new object each time something changed. */
export interface BoardState {
  readonly board: string;
  /** In the order of ids, the oldest first. A topic that did not change stays the same object. */
  readonly topics: readonly Topic[];
  /** Whether `topics` is the board's list; false before the first one, and after the end. */
  readonly loaded: boolean;
  readonly status: Status;
  /** This tab's posts that the list does not show yet, in the order in which they were written. */
  readonly posts: readonly Post[];
  /** The ids of topics that this tab posted. */
  readonly own: ReadonlySet<number>;
}

/** A list to begin with, as a server rendered it into the page. */
export interface InitialList {
  /** The page's cursor: the list's `ETag`, without quotes. */
  readonly cursor: string;
  /** In any order. `updated_at` may be missing from each. */
  readonly topics: readonly (Omit<Topic, "updated_at"> & { readonly updated_at?: string })[];
}

/** One board of a client. Fits React's `useSyncExternalStore`. */
export interface Board {
  readonly name: string;
  /** Follows the board until the returned function is called. */
  subscribe(this: void, listener: () => void): () => void;
  /** The board now. The same object until something changes. */
  getSnapshot(this: void): BoardState;
  /**
   * Shows a post at once and sends it as soon as possible. Returns its key, or null if 20 are
   * waiting already: then it is not taken, and the text is still the caller's.
   */
  post(this: void, comment: string, author?: string): string | null;
  /** Sends a post now that failed or waits. */
  resend(this: void, key: string): void;
  /**
   * Takes back a post that waits, or removes one that failed or is held from the rows. False if
   * it is on its way or written: then it stays. One that is `unsure` may be on the board already.
   */
  cancel(this: void, key: string): boolean;
}

export interface ClientOptions {
  /** Where the server is. Default: the page's own origin. */
  url?: string;
  /** `stream.heartbeat_s` of the server, in seconds. Default: 15. */
  heartbeat?: number;
  /** `limits.boards_per_stream_max` of the server. Default: 50. */
  boardsPerStream?: number;
  /** Whether all tabs of the browser share one stream. Default: true. */
  share?: boolean;
  /**
   * Who is signed in, as an opaque text. When a tab says something else than the others, the
   * lists of all of them are cleared and requested again.
   */
  identity?: string;
  /**
   * Opens the stream of one private board from another site (`/api/v1/tickets`). Nothing can be
   * posted with it, and other tabs have tickets of their own.
   */
  ticket?: string;
}

/** A server's boards. */
export interface Client {
  /** The same object for each name. `initial` counts if there is no list of the board yet. */
  board(name: string, initial?: InitialList): Board;
  /** Reconnects now, whatever the wait. */
  retry(): void;
  /** After signing in or out without a new page: clears all lists, in all tabs, and asks again. */
  identify(identity: string): void;
  /** Ends all streams of this tab. */
  close(): void;
}
