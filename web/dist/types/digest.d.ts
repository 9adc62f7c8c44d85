import type { Topic } from "./api.js";
/** Sixteen hex digits, as the server sends them. */
export declare function digest(topics: Iterable<Pick<Topic, "id" | "revision">>): string;
