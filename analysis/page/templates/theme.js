"use strict";
// Runs before the page is painted, so that no wrong theme flashes up. A choice is kept where the browser allows it.
const THEMES = ["automatic", "light", "dark"];
function keptTheme() {
  try { return THEMES.includes(localStorage.getItem("rayci.theme")) ? localStorage.getItem("rayci.theme") : "automatic"; }
  catch { return "automatic"; }
}
function setTheme(theme) {
  const dark = theme === "dark" || (theme === "automatic" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  document.documentElement.style.colorScheme = dark ? "dark" : "light";
  const button = document.getElementById("theme");
  if (!button) return;
  button.querySelector("span").textContent = theme;
  button.setAttribute("aria-label", `Theme: ${theme}`);
}
let theme = keptTheme();
setTheme(theme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(theme));
document.addEventListener("DOMContentLoaded", () => {
  setTheme(theme);
  document.getElementById("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try { localStorage.setItem("rayci.theme", theme); } catch { /* a page from a file may not keep anything */ }
    setTheme(theme);
  });
});
