import type { Env } from "./env.js";
import type { List } from "./list.js";
/** An error response, as in RFC 9457. */
export interface Problem {
    readonly detail?: string;
    readonly code?: string;
    readonly errors?: readonly {
        field: string;
        code: string;
        detail: string;
    }[];
}
export interface Reply {
    /** 0 if there was no response. */
    readonly status: number;
    /** How long the server asks to wait. */
    readonly retryAfterMs: number;
    /** The body, if it is JSON. */
    readonly body: any;
    readonly cursor: string;
}
export declare const topicsUrl: (url: string, board: string) => string;
/** Sends a request, and fails never: a request without an answer has status 0. */
export declare function request(env: Env, url: string, init: RequestInit): Promise<Reply>;
/** Null for what is not JSON, as a proxy's error page. */
export declare function parsed(text: string): any;
/** What the server says of a board: its list, that it stays closed to us, or nothing for now. */
export type Answer = {
    readonly list: List;
} | {
    readonly ended: {
        readonly name: "ended";
        readonly why: "gone" | "auth";
        readonly detail: string | null;
    };
}
/** Less than 0: nothing is in the way. */
 | {
    readonly laterMs: number;
};
/** With a ticket, which opens a stream and nothing else, only whether it still does. */
export declare function askForList(env: Env, url: string, board: string, ticket: string): Promise<Answer>;
