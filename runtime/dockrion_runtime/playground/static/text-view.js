// <text-view>: what the agent has said so far, how far it is, and how it ended.

import { json, make } from "./dom.js";

const BARS = 4; // an agent may name each of a thousand steps
const ENDS = { cancelled: "Cancelled", error: "The agent failed" };

class TextView extends HTMLElement {
  #body = null;
  #blocks = [];
  #ending = null;

  connectedCallback() {
    this.#body = make("div", { className: "said" });
    this.replaceChildren(this.#body);
    this.show(null);
  }

  /** Show a moment of an execution; null where there is none yet. */
  show(moment) {
    if (!moment) {
      this.#reset(make("p", { className: "empty" }, "Nothing has run yet. What the agent says appears here, word by word."));
      return;
    }
    const { state, execution } = moment;
    const blocks = [...state.blocks.values()];
    const labelled = new Set(blocks.map((block) => block.label)).size > 1;
    const terminal = state.terminal ?? (moment.atEnd ? execution.recording.terminal : null);
    if (this.#ending !== null || this.#blocks.length > blocks.length || !this.#body.querySelector(".block")) this.#reset();
    blocks.forEach((block, index) => this.#put(block, index, labelled));
    this.#body.classList.toggle("speaking", moment.live && !terminal);
    this.#tail(moment, terminal, blocks.length > 0);
  }

  #reset(...children) {
    this.#blocks = [];
    this.#ending = null;
    this.#body.replaceChildren(...children);
  }

  #put(block, index, labelled) {
    let shown = this.#blocks[index];
    if (!shown) {
      shown = { label: make("p", { className: "speaker" }), text: make("p", { className: "words" }), length: 0 };
      shown.text.append("");
      this.#body.append(make("div", { className: `block ${block.kind}` }, shown.label, shown.text));
      this.#blocks.push(shown);
    }
    const name = block.kind === "reasoning" ? `${block.label} thinks`.trim() : block.label;
    shown.label.textContent = name;
    shown.label.hidden = !(labelled || block.kind === "reasoning") || !name;
    if (block.text.length !== shown.length) {
      shown.text.firstChild.data = block.text;
      shown.length = block.text.length;
    }
  }

  /** Show what stands below the text: progress, the output, the failure. */
  #tail(moment, terminal, spoke) {
    this.#body.querySelectorAll(":scope > :not(.block)").forEach((part) => part.remove());
    this.#ending = terminal;
    const bars = terminal?.type === "complete" ? [] : [...moment.state.progress.values()].slice(-BARS);
    this.#body.append(...bars.map(progress));
    const { problem } = moment.execution;
    if (terminal?.type === "complete") this.#body.append(output(terminal, !spoke));
    else if (terminal) this.#body.append(ending(terminal, moment.execution));
    else if (problem && moment.execution.over) this.#body.append(trouble(problem, moment.execution.phase));
    else if (!spoke && moment.state.progress.size === 0) {
      this.#body.append(make("p", { className: "empty" }, moment.live ? "Waiting for the first word …" : "No text up to here."));
    }
  }
}

function progress(event) {
  const bar = make("progress", { max: 1, value: event.progress, "aria-label": event.step });
  const percent = `${Math.round(event.progress * 100)} %`;
  const said = event.message ? `${event.step}: ${event.message}` : event.step;
  return make("div", { className: "progress" }, make("span", {}, said), bar, make("span", { className: "number" }, percent));
}

function output(event, open) {
  return make("details", { className: "output", open }, make("summary", {}, "Output"), json(event.output));
}

function ending(event, execution) {
  const failed = event.type === "error";
  const box = make("div", { className: failed ? "notice failed" : "notice" }, make("h3", {}, ENDS[event.type]));
  if (failed) box.append(make("p", { className: "words" }, event.error));
  if (event.reason) box.append(make("p", {}, `Reason: ${event.reason}`));
  const facts = [failed ? event.code : null, execution.id].filter(Boolean);
  if (facts.length) box.append(make("p", { className: "facts" }, facts.join(" · ")));
  if (event.details !== undefined) box.append(json(event.details));
  return box;
}

function trouble(problem, phase) {
  const away = problem.code === "SERVER_AWAY" ? "The server does not answer" : "The server did not accept this";
  const title = phase === "refused" ? away : "The connection ended before the execution did";
  const box = make("div", { className: "notice failed" }, make("h3", {}, title));
  box.append(make("p", { className: "words" }, problem.message));
  if (problem.retryAfter) box.append(make("p", {}, `Try again in ${problem.retryAfter} s.`));
  box.append(make("p", { className: "facts" }, [problem.code, problem.id].filter(Boolean).join(" · ")));
  return box;
}

customElements.define("text-view", TextView);
