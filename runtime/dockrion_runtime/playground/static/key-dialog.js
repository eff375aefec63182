// <key-dialog>: asks for the API key. It goes to the API's memory; closing the page forgets it.

import { useKey } from "./api.js";
import { make, newId } from "./dom.js";

class KeyDialog extends HTMLElement {
  #dialog = null;
  #input = null;
  #why = null;
  #answer = null;

  connectedCallback() {
    this.#input = make("input", { type: "password", id: newId("key"), autocomplete: "off", spellcheck: false, required: true });
    this.#why = make("p", { className: "hint", id: newId("why") });
    this.#input.setAttribute("aria-describedby", this.#why.id);
    const title = make("h2", { id: newId("title") }, "This agent asks for a key");
    const cancel = make("button", { type: "button", className: "quiet", onclick: () => this.#dialog.close() }, "Not now");
    const form = make(
      "form",
      { noValidate: true },
      title,
      this.#why,
      make("div", { className: "field" }, make("label", { htmlFor: this.#input.id }, "API key"), this.#input),
      make("p", { className: "hint" }, "It is kept in this page's memory only, and gone when you reload."),
      make("div", { className: "send" }, make("button", { type: "submit", className: "primary" }, "Use this key"), cancel),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const value = this.#input.value.trim();
      if (/[^!-~]/.test(value)) this.#why.textContent = "A key has letters, digits and signs of ASCII only; this one has others.";
      else if (value) this.#dialog.close(value);
    });
    this.#dialog = make("dialog", { "aria-labelledby": title.id }, form);
    this.#dialog.addEventListener("close", () => {
      this.#answer?.(this.#dialog.returnValue);
      this.#dialog.returnValue = "";
      this.#input.value = "";
    });
    this.append(this.#dialog);
  }

  /** Ask for the key of a header and put it to use; say whether there is one now. */
  async ask(header, why) {
    this.#why.textContent = why;
    this.#dialog.showModal();
    const value = await new Promise((resolve) => {
      this.#answer = resolve;
    });
    if (value) useKey(header, value);
    return Boolean(value);
  }
}

customElements.define("key-dialog", KeyDialog);
