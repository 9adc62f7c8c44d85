// The hook for React.

import { useMemo, useSyncExternalStore } from "react";
import type { Board, BoardState, Client, InitialList } from "./api.js";

/**
 * Follows a board while the component is mounted, and renders it again at each change. `initial`
 * is what a server rendered; the first render shows it.
 */
export function useBoard(
  client: Client,
  name: string,
  initial?: InitialList,
): BoardState & Pick<Board, "post" | "resend" | "cancel"> {
  const board = client.board(name, initial);
  const state = useSyncExternalStore(board.subscribe, board.getSnapshot, board.getSnapshot);
  return useMemo(
    () => ({ ...state, post: board.post, resend: board.resend, cancel: board.cancel }),
    [board, state],
  );
}
