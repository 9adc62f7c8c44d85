// Switches the theme without another page.

import { words } from "./shared.js";

const THEMES = ["system", "light", "dark"];
const switches = document.querySelectorAll<HTMLFormElement>("form.theme");

function switchTheme(event: SubmitEvent): void {
  event.preventDefault();
  const theme = (event.submitter as HTMLButtonElement).value;
  document.cookie = `kairanban-theme=${theme}; Path=/; Max-Age=31536000; SameSite=Lax`;
  document.documentElement.dataset.theme = theme;
  for (const { elements } of switches) {
    const button = elements.namedItem("theme") as HTMLButtonElement;
    button.value = THEMES[(THEMES.indexOf(theme) + 1) % 3]!;
    button.title = button.ariaLabel = words[`theme_${theme}`]!;
  }
}

export const themes = () => switches.forEach((form) => form.addEventListener("submit", switchTheme));
