// Takes the README's pictures: npm run picture

import { Node, startChromium } from "./node.js";
import { neighbourhood } from "./neighbourhood.js";

const PICTURES = [
  ["en", "light", { width: 1280, height: 760 }],
  ["ja", "dark", { width: 390, height: 760 }],
];
const chromium = await startChromium();
try {
  for (const [language, colorScheme, viewport] of PICTURES) {
    const node = await Node.start({ BOARD__TIME_ZONE: "Asia/Tokyo", BOARD__TOPICS_MAX: "15" });
    await neighbourhood(node, language);
    const context = await chromium.newContext({ colorScheme, viewport, locale: language, reducedMotion: "reduce" });
    const page = await context.newPage();
    await page.goto(node.url);
    await page.waitForSelector('#state[data-state="live"]');
    await page.screenshot({ path: `../../docs/pictures/board-${colorScheme}.png` });
    await node.end();
  }
} finally {
  await chromium.close();
}
