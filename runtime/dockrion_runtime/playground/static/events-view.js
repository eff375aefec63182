// <events-view>: the events themselves, newest last, by type.

import { json, make } from "./dom.js";

const MOST = 300; // rows; a page with ten thousand is of no use to anyone
const BRIEF = 300; // characters

class EventsView extends HTMLElement {
  #list = null;
  #chips = null;
  #note = null;
  #recording = null;
  #hidden = new Set();
  #counts = new Map();
  #counted = 0;
  #rows = new Map(); // event → row, in the order they are shown in
  #moment = null;

  connectedCallback() {
    this.#chips = make("div", { className: "chips", role: "group", "aria-label": "Types of events to show" });
    this.#list = make("ol", { className: "events", tabIndex: 0, "aria-label": "Events" });
    this.#note = make("p", { className: "empty" });
    this.replaceChildren(this.#chips, this.#note, this.#list);
    this.show(null);
  }

  show(moment) {
    this.#moment = moment;
    if (!moment) {
      this.#list.hidden = true;
      this.#note.textContent = "Each event as it comes over the wire.";
      return;
    }
    const { recording } = moment.execution;
    if (recording !== this.#recording) this.#begin(recording);
    this.#count(recording);
    const wanted = [];
    let matching = 0;
    for (let index = moment.count - 1; index >= 0; index -= 1) {
      if (this.#hidden.has(recording.events[index].type)) continue;
      matching += 1;
      if (matching <= MOST) wanted.push(recording.events[index]);
      else if (this.#hidden.size === 0) {
        matching = moment.count;
        break;
      }
    }
    this.#put(wanted.reverse());
    this.#list.hidden = wanted.length === 0;
    this.#note.textContent = told(matching, wanted.length, recording.notKept);
    this.#note.hidden = !this.#note.textContent;
  }

  #begin(recording) {
    this.#recording = recording;
    this.#counts.clear();
    this.#counted = 0;
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#chips.replaceChildren();
  }

  #count(recording) {
    for (; this.#counted < recording.events.length; this.#counted += 1) {
      const { type } = recording.events[this.#counted];
      if (!this.#counts.has(type)) this.#counts.set(type, { number: 0, shown: this.#chip(type) });
      this.#counts.get(type).number += 1;
    }
    for (const { number, shown } of this.#counts.values()) shown.textContent = String(number);
  }

  #chip(type) {
    const number = make("span", { className: "number" });
    const box = make("input", { type: "checkbox", checked: !this.#hidden.has(type) });
    box.addEventListener("change", () => {
      if (box.checked) this.#hidden.delete(type);
      else this.#hidden.add(type);
      this.show(this.#moment);
    });
    this.#chips.append(make("label", { className: "chip" }, box, make("span", {}, type, " ", number)));
    return number;
  }

  /** Make the list show these events, touching only rows that come or go: one of them may have the focus. */
  #put(events) {
    const list = this.#list;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const wanted = new Set(events);
    for (const [event, row] of this.#rows) {
      if (wanted.has(event)) continue;
      row.remove();
      this.#rows.delete(event);
    }
    let next = list.firstChild;
    for (const event of events) {
      let row = this.#rows.get(event);
      if (row === next && row) {
        next = next.nextSibling;
        continue;
      }
      if (!row) row = rowOf(event, this.#recording.events[0].time);
      list.insertBefore(row, next);
      this.#rows.set(event, row);
    }
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}

function told(matching, shown, notKept) {
  const parts = [];
  if (notKept) parts.push(`The first ${notKept} events are not kept any more.`);
  if (matching > shown) parts.push(`The last ${shown} of ${matching}.`);
  else if (!matching) parts.push("None up to here.");
  return parts.join(" ");
}

function rowOf(event, begin) {
  const { type, sequence, timestamp, time, run_id, request_id, ...fields } = event;
  const brief = JSON.stringify(fields).slice(0, BRIEF);
  const offset = `+${((time - begin) / 1000).toFixed(3)} s`;
  const details = make(
    "details",
    {},
    make(
      "summary",
      {},
      make("span", { className: "number" }, String(sequence)),
      make("span", { className: "offset" }, offset),
      make("span", { className: "type" }, type),
      make("span", { className: "brief" }, brief === "{}" ? "" : brief),
    ),
  );
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector("pre")) {
      const whole = { type, ...fields, timestamp, run_id, request_id, sequence };
      details.append(json(whole));
    }
  });
  return make("li", { "data-type": type }, details);
}

customElements.define("events-view", EventsView);
