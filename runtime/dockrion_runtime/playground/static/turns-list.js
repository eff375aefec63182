// <turns-list>: a conversation, turn by turn. Each is an execution that can be looked at again.

import { make } from "./dom.js";

const SHOWN = 280; // characters of an answer; the whole of it is one click away

class TurnsList extends HTMLElement {
  #turns = [];
  #thread = null;
  #keeps = false;
  #open = null;
  #list = null;
  #note = null;

  prepare(keepsThreads, open) {
    this.#keeps = keepsThreads;
    this.#open = open;
    this.#list = make("ol", { className: "turns" });
    const fresh = make("button", { type: "button", className: "quiet", onclick: () => this.begin() }, "New");
    fresh.setAttribute("aria-label", "New conversation");
    this.#note = make("p", { className: "hint" });
    const head = make("div", { className: "head" }, make("h2", {}, "Conversation"), fresh);
    this.replaceChildren(head, this.#note, this.#list);
    this.begin();
  }

  /** Begin another conversation, under a name of its own. */
  begin() {
    this.#turns = [];
    this.#list.replaceChildren();
    const bytes = crypto.getRandomValues(new Uint8Array(9)); // randomUUID is for https only
    this.#thread = this.#keeps ? `web-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}` : null;
    const kept = ["What is said here goes on, as ", make("code", {}, `thread_id=${this.#thread}`), "."];
    this.#note.replaceChildren(...(this.#keeps ? kept : ["This agent remembers nothing: each message stands alone."]));
  }

  /** The conversation's name; null where the agent keeps none. */
  get thread() {
    return this.#thread;
  }

  add(message, execution) {
    const answer = make("span", { className: "answer" }, "…");
    const button = make(
      "button",
      { type: "button", onclick: () => this.#open(execution) },
      make("span", { className: "question" }, message),
      answer,
    );
    this.#turns.push({ execution, answer, button });
    this.#list.append(make("li", {}, button));
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** Show what has been answered in one of the turns so far, and which one is looked at. */
  show(execution, state) {
    for (const turn of this.#turns) {
      if (turn.execution === execution) {
        turn.button.setAttribute("aria-current", "true");
        turn.answer.textContent = answered(execution, state);
      } else turn.button.removeAttribute("aria-current");
    }
  }
}

function answered({ recording, phase, problem }, state) {
  const said = [...state.blocks.values()].filter(({ kind }) => kind === "text").map(({ text }) => text);
  const { terminal } = recording;
  let text = said.join("\n");
  if (!text && terminal?.type === "complete") text = JSON.stringify(terminal.output);
  if (terminal?.type === "error") text = `failed: ${terminal.error}`;
  if (terminal?.type === "cancelled") text = text || "cancelled";
  if (problem && phase === "refused") text = problem.message;
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text || "…";
}

customElements.define("turns-list", TurnsList);
