// What this browser keeps for the next visit.

export function remember(what: string, value: unknown): void {
  try {
    localStorage.setItem(`kairanban:${what}`, `${value}`);
  } catch {
    // Forbidden, or full: then it is not kept.
  }
}
