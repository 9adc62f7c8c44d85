/** An `EventSource`, as far as it is used. */
export interface Source {
    readonly readyState: number;
    onopen: ((event: never) => void) | null;
    onerror: ((event: never) => void) | null;
    addEventListener(name: string, act: (event: {
        data: string;
        lastEventId: string;
    }) => void): void;
    close(): void;
}
/** What tabs say to each other goes through here. */
export interface Channel {
    onmessage: ((event: {
        data: never;
    }) => void) | null;
    postMessage(message: unknown): void;
    close(): void;
}
export type Signal = "visible" | "hidden" | "online" | "offline" | "freeze" | "leave" | "return";
export interface Env {
    now(): number;
    /** In [0, 1). */
    random(): number;
    /** Calls once, after that many ms, unless the returned function was called before. */
    after(ms: number, act: () => void): () => void;
    online(): boolean;
    visible(): boolean;
    /**
     * Calls at each change of the page or the network, until the returned function is called. While
     * `holds`, the browser asks before it closes the page.
     */
    listen(act: (signal: Signal) => void, holds: () => boolean): () => void;
    source(url: string): Source;
    fetch(url: string, init: RequestInit): Promise<Response>;
    /** Undefined where tabs cannot be reached: then each is on its own. */
    channel: ((name: string) => Channel) | undefined;
    /**
     * Web Locks; undefined on plain http. `granted` when the lock is held, `lost` when another tab
     * took it by force. The returned function releases it, or leaves the queue.
     */
    lock: ((name: string, force: boolean, granted: () => void, lost: () => void) => () => void) | undefined;
    /** Kept over a reload of this tab. Undefined where it is forbidden. */
    storage: Pick<Storage, "getItem" | "setItem"> | undefined;
}
/** A random text that no other tab has. */
export declare function randomKey(): string;
export declare function browser(): Env;
