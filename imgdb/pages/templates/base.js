"use strict";
/* Light or dark: as the system is, until the reader says otherwise. */
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => { button.textContent = dark() ? "Light" : "Dark"; };
  const kept = (value) => {
    try { // a page in a mail may have no storage
      if (value) localStorage.setItem("imgdb-theme", value);
      return localStorage.getItem("imgdb-theme");
    } catch { return null; }
  };
  const choice = kept();
  if (choice === "light" || choice === "dark") root.dataset.theme = choice;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    kept(root.dataset.theme);
    label();
  });
  system.addEventListener("change", label);
  button.hidden = false;
  label();
})();
