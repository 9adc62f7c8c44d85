import type { Env } from "./env.js";
export type ElectionMessage = 
/** The leader is there. `roll`: each tab is to say which boards it wants. */
{
    readonly k: "beat";
    readonly from: string;
    readonly term: number;
    readonly visible: boolean;
    readonly roll: boolean;
}
/** Asks whether there is a leader. */
 | {
    readonly k: "claim";
    readonly from: string;
}
/** A tab ends; so does its lead. */
 | {
    readonly k: "leave";
    readonly from: string;
    readonly leader: boolean;
};
export interface ElectionDeps {
    readonly env: Env;
    /** Of this tab. */
    readonly id: string;
    /** Of the group. */
    readonly name: string;
    send(message: ElectionMessage): void;
    /** This tab leads; called again when another one thought that it did. */
    lead(): void;
    follow(): void;
}
export declare class Election {
    #private;
    leading: boolean;
    /** Of the newest lead that is known. What an earlier one still says does not count. */
    term: number;
    constructor(deps: ElectionDeps);
    start(): void;
    /** Ends the lead if it is ours, so that another tab begins at once. */
    stop(): void;
    hear(message: ElectionMessage): void;
    /** The page was hidden or shown. */
    visibilityChanged(): void;
}
