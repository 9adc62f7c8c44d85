// What the server rendered, its words, and what this browser remembers.

export const get = (id: string) => document.getElementById(id)!;
export const main = get("main");
export const words: Record<string, string> = JSON.parse(main.dataset.words!);
export const name = main.dataset.board!;

export const find = <T extends HTMLElement>(within: ParentNode, selector: string) =>
  within.querySelector<T>(selector)!;

export const list = get("topics");

/** A sentence of the page, with a number or a time in its gap. */
export const say = (key: string, value: unknown = "") =>
  (words[key] ?? "").replace(/\{\w+\}/, () => `${value}`);

/** Does not touch what says so already: nothing is announced, and no selection is lost. */
export function put(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A copy of what stands in a template. */
export const copy = (id: string) =>
  (get(id) as HTMLTemplateElement).content.firstElementChild!.cloneNode(true) as HTMLElement;

export function remembered(what: string): string {
  try {
    return localStorage.getItem(`kairanban:${what}`) ?? "";
  } catch {
    return "";
  }
}
