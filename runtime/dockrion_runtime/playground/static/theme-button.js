// <theme-button>: light or dark. Without a choice it is as the system says; a choice holds for this page.

import { make } from "./dom.js";

class ThemeButton extends HTMLElement {
  connectedCallback() {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const root = document.documentElement;
    const button = make("button", { type: "button", className: "quiet" });
    const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const label = () => {
      button.textContent = dark() ? "Light" : "Dark";
      button.setAttribute("aria-label", `Use the ${dark() ? "light" : "dark"} theme`);
    };
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      label();
    });
    system.addEventListener("change", label);
    label();
    this.replaceChildren(button);
  }
}

customElements.define("theme-button", ThemeButton);
