// What is used of React, so that building takes no package of it.

declare module "react" {
  export function useMemo<T>(make: () => T, inputs: readonly unknown[]): T;
  export function useSyncExternalStore<T>(
    subscribe: (listener: () => void) => () => void,
    getSnapshot: () => T,
    getServerSnapshot: () => T,
  ): T;
}
