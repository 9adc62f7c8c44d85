// Requests to the REST API: a board's list, and what a refusal says.

import type { Env } from "./env.js";
import type { List } from "./list.js";

/** An error response, as in RFC 9457. */
export interface Problem {
  readonly detail?: string;
  readonly code?: string;
  readonly errors?: readonly { field: string; code: string; detail: string }[];
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

/** How long a response may take. */
const PATIENCE_MS = 10_000;

export const topicsUrl = (url: string, board: string) =>
  `${url}/api/v1/boards/${encodeURIComponent(board)}/topics`;

/** Sends a request, and fails never: a request without an answer has status 0. */
export async function request(env: Env, url: string, init: RequestInit): Promise<Reply> {
  const patience = new AbortController();
  const cancel = env.after(PATIENCE_MS, () => patience.abort());
  try {
    const response = await env.fetch(url, { ...init, signal: patience.signal });
    const text = await response.text();
    return {
      status: response.status,
      retryAfterMs: 1_000 * (Number(response.headers.get("Retry-After")) || 0),
      body: parsed(text),
      cursor: /[0-9a-f]+-\d+/.exec(response.headers.get("ETag") ?? "")?.[0] ?? "",
    };
  } catch {
    return { status: 0, retryAfterMs: 0, body: null, cursor: "" };
  } finally {
    cancel();
  }
}

/** Null for what is not JSON, as a proxy's error page. */
export function parsed(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** What the server says of a board: its list, that it stays closed to us, or nothing for now. */
export type Answer =
  | { readonly list: List }
  | {
      readonly ended: {
        readonly name: "ended";
        readonly why: "gone" | "auth";
        readonly detail: string | null;
      };
    }
  /** Less than 0: nothing is in the way. */
  | { readonly laterMs: number };

/** With a ticket, which opens a stream and nothing else, only whether it still does. */
export async function askForList(
  env: Env,
  url: string,
  board: string,
  ticket: string,
): Promise<Answer> {
  const isTicket = !IS_PAGE && ticket;
  const address = isTicket ? `${url}/b/${board}/stream?ticket=${ticket}` : topicsUrl(url, board);
  const { status, body, cursor, retryAfterMs } = await request(env, address, {
    method: isTicket ? "HEAD" : "GET",
    // The stream may have been ahead of whatever the browser kept.
    cache: "no-cache",
  });
  if (isTicket && status === 200) return { laterMs: -1 };
  if (status === 200 && body?.topics && cursor) {
    return { list: { topics: body.topics, revision: body.revision, cursor } };
  }
  const why = { 401: "auth", 403: "auth", 404: "gone", 410: "gone" }[status] as
    "gone" | "auth" | undefined;
  if (why && (body || isTicket))
    return { ended: { name: "ended", why, detail: body?.detail ?? null } };
  return { laterMs: retryAfterMs };
}
