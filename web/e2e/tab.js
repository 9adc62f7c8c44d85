// The board page in a tab of Chromium, for tests: what it complains of is kept, and its stream can be reached.

/**
 * @param {import("playwright-core").BrowserContext} context
 * @param {string} url
 */
export async function openTab(context, url) {
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => /Content Security Policy|SyntaxError/.test(message.text()) && page.complaints.push(message.text()));
  await page.addInitScript(() => {
    const Native = window.EventSource;
    window.sources = [];
    window.EventSource = class extends Native {
      constructor(...inputs) {
        super(...inputs);
        window.sources.push(this);
      }
    };
  });
  await page.goto(url);
  return page;
}

export const isAt = (page, state) => page.waitForSelector(`#state[data-state="${state}"]`);

/** Live, and what a reader needs who does something is there. */
export async function ready(page) {
  await isAt(page, "live");
  await page.mouse.move(9, 9);
  await page.waitForSelector("#counter:not([hidden])", { state: "attached" });
}

export const comments = (page) => page.locator("#topics .comment").allTextContents();
export const shows = (page, text) => page.locator("#topics .comment", { hasText: text }).first().waitFor();

/** The list has it, and not only this page, which shows a post before it is answered. */
export const isPosted = (page, text) => page.locator("#topics .topic:not([data-state])", { hasText: text }).first().waitFor();

/** Posts texts one after the other. */
export async function postAll(node, ...texts) {
  for (const text of texts) await node.post(text);
}

/** As when another tab is in front. */
export const hide = (page, isHidden) =>
  page.evaluate((isHidden) => {
    Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, isHidden);
