// What the client needs of a browser, and nothing else in it touches. Tests pass their own.

/** An `EventSource`, as far as it is used. */
export interface Source {
  readonly readyState: number;
  onopen: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  addEventListener(name: string, act: (event: { data: string; lastEventId: string }) => void): void;
  close(): void;
}

/** What tabs say to each other goes through here. */
export interface Channel {
  onmessage: ((event: { data: never }) => void) | null;
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
  lock:
    | ((name: string, force: boolean, granted: () => void, lost: () => void) => () => void)
    | undefined;
  /** Kept over a reload of this tab. Undefined where it is forbidden. */
  storage: Pick<Storage, "getItem" | "setItem"> | undefined;
}

/** A random text that no other tab has. */
export function randomKey(): string {
  // randomUUID is missing on plain http.
  const [...numbers] = crypto.getRandomValues(new Uint32Array(4));
  return numbers.map((number) => number.toString(36)).join("");
}

function storage(): Storage | undefined {
  try {
    return sessionStorage;
  } catch {
    return undefined;
  }
}

function lock(name: string, force: boolean, granted: () => void, lost: () => void): () => void {
  const leave = new AbortController();
  let release = () => {};
  let left = false;
  const hold = () =>
    new Promise<void>((resolve) => {
      release = resolve;
      granted();
    });
  const options = force ? { steal: true } : { signal: leave.signal };
  navigator.locks
    .request(name, options, () => (left ? undefined : hold()))
    .catch(() => left || lost());
  return () => {
    left = true;
    leave.abort();
    release();
  };
}

/** Where a server renders the page: nothing is followed, and nothing kept waiting for. */
const NO_BROWSER = {
  now: () => Date.now(),
  random: () => 0,
  after: () => () => {},
  online: () => false,
  visible: () => false,
  listen: () => () => {},
} as unknown as Env;

export function browser(): Env {
  if (!IS_PAGE && typeof document === "undefined") return NO_BROWSER;
  return {
    now: () => Date.now(),
    random: () => Math.random(),
    after(ms, act) {
      const timer = setTimeout(act, ms);
      return () => clearTimeout(timer);
    },
    online: () => navigator.onLine,
    visible: () => !document.hidden,
    listen(act, holds) {
      const end = new AbortController();
      const on = (target: EventTarget, name: string, signal: (event: Event) => Signal | false) =>
        target.addEventListener(
          name,
          (event) => {
            const read = signal(event);
            if (read) act(read);
          },
          end,
        );
      on(document, "visibilitychange", () => (document.hidden ? "hidden" : "visible"));
      on(document, "freeze", () => "freeze");
      on(document, "resume", () => "visible");
      on(window, "online", () => "online");
      on(window, "offline", () => "offline");
      on(window, "pagehide", () => "leave");
      // Only where the page was kept: the first one comes after loading.
      on(window, "pageshow", (event) => (event as PageTransitionEvent).persisted && "return");
      addEventListener("beforeunload", (event) => holds() && event.preventDefault(), end);
      return () => end.abort();
    },
    source: (url) => new EventSource(url) as Source,
    fetch: (url, init) => fetch(url, init),
    channel:
      typeof BroadcastChannel === "undefined"
        ? undefined
        : (name) => new BroadcastChannel(name) as Channel,
    lock: navigator.locks ? lock : undefined,
    storage: storage(),
  };
}
