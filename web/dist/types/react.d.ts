import type { Board, BoardState, Client, InitialList } from "./api.js";
/**
 * Follows a board while the component is mounted, and renders it again at each change. `initial`
 * is what a server rendered; the first render shows it.
 */
export declare function useBoard(client: Client, name: string, initial?: InitialList): BoardState & Pick<Board, "post" | "resend" | "cancel">;
