// What the build brings.

/** Whether this is the script of the board page: no server runs it, and it has no ticket. */
declare const IS_PAGE: boolean;

// What is used of React, so that building takes no package of it.

declare module "react" {
  export function useMemo<T>(make: () => T, inputs: readonly unknown[]): T;
  export function useSyncExternalStore<T>(
    subscribe: (listener: () => void) => () => void,
    getSnapshot: () => T,
    getServerSnapshot: () => T,
  ): T;
}
