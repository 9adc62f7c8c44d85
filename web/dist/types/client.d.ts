import type { Board, Client, ClientOptions, InitialList } from "./api.js";
import { type Env } from "./env.js";
/** Connects to a server: boards are followed from their first subscriber on. */
export declare function connect(options?: ClientOptions): Client;
export declare class BrowserClient implements Client {
    #private;
    constructor(options: ClientOptions, env: Env);
    board(name: string, initial?: InitialList): Board;
    retry(): void;
    identify(identity: string): void;
    close(): void;
}
