// <runs-list>: the runs that the server has, newest first.

import { ask, query } from "./api.js";
import { make } from "./dom.js";

const PAGE = 12;

class RunsList extends HTMLElement {
  #list = null;
  #more = null;
  #note = null;
  #open = null;
  #next = null;
  #current = null;

  /** Show the list; `open(run)` is called for the one that is chosen. */
  prepare(open) {
    this.#open = open;
    this.#list = make("ol", { className: "runs" });
    this.#note = make("p", { className: "empty" });
    this.#more = make("button", { type: "button", className: "quiet", hidden: true, onclick: () => this.#load(this.#next) }, "More");
    const refresh = make("button", { type: "button", className: "quiet", onclick: () => this.refresh() }, "Refresh");
    const head = make("div", { className: "head" }, make("h2", {}, "Runs"), refresh);
    this.replaceChildren(head, this.#note, this.#list, this.#more);
    return this.refresh();
  }

  refresh() {
    return this.#open ? this.#load(null) : Promise.resolve();
  }

  /** Mark the run that is shown. */
  set current(id) {
    this.#current = id;
    for (const button of this.querySelectorAll(".runs button")) mark(button, id);
  }

  async #load(cursor) {
    let page;
    try {
      page = await ask("GET", `runs${query({ limit: PAGE, cursor })}`);
    } catch (error) {
      this.#tell(`The runs could not be listed: ${error.message}`);
      return;
    }
    const items = page.runs.map((run) => this.#item(run));
    if (cursor) this.#list.append(...items);
    else this.#replace(items);
    this.#next = page.next;
    this.#more.hidden = page.next === null;
    this.#tell(this.#list.children.length ? "" : "None yet. A run outlives this page: leave, come back, open it here.");
  }

  #replace(items) {
    const focused = this.#list.contains(document.activeElement) ? document.activeElement.dataset.run : null;
    this.#list.replaceChildren(...items);
    if (focused) this.#list.querySelector(`[data-run="${CSS.escape(focused)}"]`)?.focus();
  }

  #item(run) {
    const begun = new Date(run.created_at);
    const button = make(
      "button",
      { type: "button", onclick: () => this.#open(run), "data-run": run.run_id, title: run.run_id },
      make("span", { className: `dot ${run.status}`, "aria-hidden": "true" }),
      make("span", { className: "id" }, run.run_id.slice(0, 13)),
      make("span", { className: "status" }, run.status),
      make("time", { dateTime: run.created_at }, begun.toLocaleTimeString()),
    );
    mark(button, this.#current);
    return make("li", {}, button);
  }

  #tell(text) {
    this.#note.textContent = text;
    this.#note.hidden = !text;
  }
}

function mark(button, id) {
  if (button.dataset.run === id) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}

customElements.define("runs-list", RunsList);
