import type { Post, Status } from "./api.js";
interface Words {
    readonly locale: string;
    readonly label: string;
    readonly name: string;
    readonly send: string;
    readonly anonymous: string;
    readonly empty: string;
    readonly edited: string;
    readonly full: string;
    readonly again: string;
    readonly cancel: string;
    readonly discard: string;
    readonly whole: string;
    status(status: Status, seconds: number, time: string): string;
    /** What is said beside a post, where the server has said nothing. */
    post(post: Post, seconds: number): string;
}
export declare const words: (lang: string) => Words;
export {};
