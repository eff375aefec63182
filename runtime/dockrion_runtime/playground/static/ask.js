// <ask-box>: what to say to the agent, as a message, as a form of its input schema, or as raw JSON.

import { Problem } from "./api.js";
import { make, newId } from "./dom.js";
import { Unreadable, field } from "./fields.js";
import { choices } from "./choices.js";

class AskBox extends HTMLElement {
  #form = null;
  #json = null;
  #message = null;
  #general = null;
  #send = null;
  #keys = null;
  #mode = "json";
  #info = null;
  #panels = {};

  /** Show the ways in that the agent has. `begin(payload, {message})` is called to send. */
  prepare(info, schema, begin) {
    this.#info = info;
    const modes = {};
    if (info.chat) modes.chat = "Chat";
    if (Object.keys(schema.properties ?? {}).length) modes.form = "Form";
    modes.json = "JSON";
    this.#panels = {
      chat: info.chat ? this.#chatPanel() : null,
      form: modes.form ? this.#formPanel(schema) : null,
      json: this.#jsonPanel(),
    };
    this.#general = make("p", { className: "wrong", role: "alert", hidden: true });
    this.#send = make("button", { type: "submit", className: "primary" }, "Run");
    this.#keys = make("span", { className: "keys", "aria-hidden": "true" });
    const form = make(
      "form",
      { noValidate: true },
      choices("Input", modes, (mode) => this.#switch(mode)),
      ...Object.values(this.#panels).filter(Boolean),
      this.#general,
      make("div", { className: "send" }, this.#send, this.#keys),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#send.getAttribute("aria-disabled") !== "true") this.#submit(begin);
    });
    form.addEventListener("keydown", (event) => {
      const plain = event.target === this.#message && !event.shiftKey && !event.isComposing;
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey || plain)) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    this.replaceChildren(form);
    this.#mode = Object.keys(modes)[0];
    this.#reveal();
    if (this.#mode === "chat") this.#message.focus({ preventScroll: true });
  }

  /** Say whether another execution may begin. */
  set busy(busy) {
    this.#send?.setAttribute("aria-disabled", String(busy)); // disabled, it would lose the focus
  }

  get mode() {
    return this.#mode;
  }

  /** Show what the server found wrong, each fault at its field; the rest in one place. */
  refuse(problem) {
    const rest = [];
    for (const { path, message } of problem.errors ?? []) {
      if (!this.#mark(path === "$" ? [] : path.split("."), message)) rest.push(`${path}: ${message}`);
    }
    const known = problem instanceof Problem && problem.errors.length;
    if (!known) rest.push(problem.message);
    this.#say(rest.join("\n"));
    this.querySelector("[aria-invalid=true]")?.focus();
  }

  #submit(begin) {
    this.#clear();
    if (this.#mode === "chat" && !this.#message.value.trim()) return;
    let payload;
    try {
      payload = this.#read(this.#mode);
    } catch (error) {
      this.refuse(error instanceof Unreadable ? { errors: [{ path: error.path.join("."), message: error.message }] } : error);
      if (error instanceof Unreadable) this.#say("");
      return;
    }
    const message = this.#mode === "chat" ? this.#message.value : null;
    if (message !== null) this.#message.value = "";
    begin(payload, message);
  }

  #read(mode) {
    if (mode === "form") return this.#form.read();
    if (mode === "chat") return said(this.#info.chat, this.#message.value);
    try {
      return JSON.parse(this.#json.value || "{}");
    } catch (error) {
      throw new Unreadable(["json"], `no valid JSON: ${error.message}`);
    }
  }

  #switch(mode) {
    this.#clear();
    try {
      const payload = this.#read(this.#mode);
      if (mode === "json") this.#json.value = JSON.stringify(payload, null, 2);
      if (mode === "form" && this.#mode === "json") this.#form.load(payload);
    } catch {
      // What cannot be read stays where it is; the other way in keeps what it had.
    }
    this.#mode = mode;
    this.#reveal();
  }

  #reveal() {
    for (const [mode, panel] of Object.entries(this.#panels)) if (panel) panel.hidden = mode !== this.#mode;
    this.#send.textContent = this.#mode === "chat" ? "Send" : "Run";
    this.#keys.textContent = this.#mode === "chat" ? "↵" : "Ctrl ↵";
  }

  #chatPanel() {
    this.#message = make("textarea", { rows: 3, id: newId("message"), placeholder: "Say something …" });
    return make("div", { className: "field" }, make("label", { htmlFor: this.#message.id }, "Message"), this.#message);
  }

  #formPanel(schema) {
    this.#form = field({ ...schema, type: "object" }, { root: schema, path: [], required: true, name: "payload" });
    return this.#form.element;
  }

  #jsonPanel() {
    this.#json = make("textarea", { rows: 8, id: newId("json"), className: "code", spellcheck: false, value: "{}" });
    const wrong = make("p", { className: "wrong", id: newId("wrong"), hidden: true });
    this.#json.setAttribute("aria-describedby", wrong.id);
    this.#json.dataset.path = "json";
    return make("div", { className: "field" }, make("label", { htmlFor: this.#json.id }, "Payload"), this.#json, wrong);
  }

  #mark(path, message) {
    let found = null;
    if (this.#mode === "form" && path.length) {
      for (let length = path.length; length && !found; length -= 1) found = this.#form.find(path.slice(0, length));
    } else if (this.#mode === "json" && path[0] === "json") {
      found = { control: this.#json, error: this.#panels.json.querySelector(".wrong") };
    }
    if (!found) return false;
    found.control.setAttribute("aria-invalid", "true");
    found.error.textContent = message;
    found.error.hidden = false;
    return true;
  }

  #clear() {
    for (const control of this.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
    for (const error of this.querySelectorAll(".wrong")) error.hidden = true;
  }

  #say(text) {
    this.#general.textContent = text;
    this.#general.hidden = !text;
  }
}

/** Return the payload that says a message: the server's example with the message in its place. */
function said({ payload, path }, message) {
  if (!path.length) return message;
  const made = structuredClone(payload);
  const place = path.slice(0, -1).reduce((inner, name) => inner[name], made);
  place[path.at(-1)] = message;
  return made;
}

customElements.define("ask-box", AskBox);
