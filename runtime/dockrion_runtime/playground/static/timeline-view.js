// <timeline-view>: what happened when. A row for each node, and below what happens at a moment.

import { draw, make } from "./dom.js";
import { Steps, rowsOf } from "./steps.js";

const NICE = [1, 2, 5];
const BINS = 240;
const MOST_MARKS = 400;
const LETTER = 6.5; // pixels, about
const TICK_WIDTH = 64; // pixels that the text at a tick may need

class TimelineView extends HTMLElement {
  #steps = null;
  #bars = new Map(); // step → {bar, label, end}, the last as far as it is drawn
  #layout = "";
  #lanes = [];
  #rows = null;
  #axis = null;
  #head = null;
  #tokens = null;
  #marks = null;
  #empty = null;

  connectedCallback() {
    this.#axis = make("div", { className: "axis", "aria-hidden": "true" });
    this.#rows = make("ol", { className: "rows" });
    this.#head = make("div", { className: "playhead" });
    this.#empty = make("p", { className: "empty" }, "Steps as bars, as long as they took; what runs at once is side by side.");
    const overlay = make("div", { className: "overlay", "aria-hidden": "true" }, this.#head);
    this.replaceChildren(this.#empty, make("div", { className: "chart" }, this.#axis, this.#rows, overlay));
    this.show(null);
  }

  show(moment) {
    const events = moment?.execution.recording.events ?? [];
    this.#empty.hidden = events.length > 0;
    this.lastChild.hidden = events.length === 0;
    if (!events.length) return;
    const { recording } = moment.execution;
    if (this.#steps?.recording !== recording) this.#begin(recording);
    this.#steps.advance();
    const begin = events[0].time;
    const newest = events.at(-1).time;
    const now = moment.live ? newest + (performance.now() - recording.arrived) : newest;
    const span = Math.max(now - begin, 1);
    const at = events[Math.max(moment.count - 1, 0)].time;
    const view = { begin, span, at: moment.atEnd ? now : at, count: moment.count };
    this.#arrange();
    for (const step of this.#steps.all) this.#place(step, view);
    for (const { steps } of this.#lanes) this.#label(steps, view);
    this.#density(view);
    this.#moments(view);
    this.#ticks(span);
    this.#head.style.left = percent((view.at - begin) / span);
    this.#head.hidden = moment.atEnd && !moment.live;
  }

  #begin(recording) {
    this.#steps = new Steps(recording);
    this.#bars.clear();
    this.#layout = "";
    this.#rows.replaceChildren();
    this.#tokens = null;
    this.#marks = null;
  }

  /** Put the bars into their rows; only where a row has come. */
  #arrange() {
    const rows = rowsOf(this.#steps.all);
    this.#lanes = rows;
    const layout = `${rows.map((row) => `${row.id}/${row.steps.length}`)} ${this.#steps.tokens.length > 0} ${this.#steps.marks.length > 0}`;
    if (layout === this.#layout) return;
    this.#layout = layout;
    const shown = rows.map((row) => {
      const track = make("div", { className: "track" }, ...row.steps.map((step) => this.#bar(step).bar));
      return rowElement(row.name, row.id.replaceAll(":", " › "), track, row.depth);
    });
    if (this.#steps.tokens.length) {
      this.#tokens ??= draw("path");
      const box = draw("svg", { viewBox: `0 0 ${BINS} 20`, preserveAspectRatio: "none" }, this.#tokens);
      shown.push(rowElement("tokens", "tokens, the higher the more", make("div", { className: "track density" }, box)));
    }
    if (this.#steps.marks.length) {
      this.#marks ??= make("div", { className: "track marks" });
      shown.push(rowElement("events", "progress, custom and other events", this.#marks));
    }
    this.#rows.replaceChildren(...shown);
  }

  #bar(step) {
    if (!this.#bars.has(step)) {
      const label = make("span", { className: "took" });
      this.#bars.set(step, { bar: make("div", { className: "bar", "data-node": step.id }, label), label });
    }
    return this.#bars.get(step);
  }

  #place(step, { begin, span, at, count }) {
    const shown = this.#bar(step);
    const { bar, label } = shown;
    const future = step.told ? step.from >= count : step.start > at;
    const running = !future && (step.until === null || step.until >= count);
    const end = running ? Math.max(at, step.start) : (step.end ?? at);
    shown.end = end;
    bar.style.left = percent((step.start - begin) / span);
    bar.style.width = percent((end - step.start) / span);
    bar.className = `bar ${future ? "future" : running ? "running" : step.cut ? "cut" : "done"}`;
    const took = duration(end - step.start);
    label.textContent = took;
    bar.title = `${step.id.replaceAll(":", " › ")}: ${took}${running ? ", running" : step.cut ? ", not finished" : ""}`;
  }

  /** Put how long each bar of a row took to where there is room for it; nowhere, where there is none. */
  #label(steps, { begin, span }) {
    const at = (time) => ((time - begin) / span) * this.#axis.clientWidth;
    let taken = 0;
    steps.forEach((step, index) => {
      const { label, end } = this.#bar(step);
      const next = steps[index + 1]?.start ?? begin + span;
      const needed = label.textContent.length * LETTER + 16;
      let side = "none";
      if (at(end) - at(step.start) > needed + 8) side = "inside";
      else if (at(next) - at(end) > needed) side = "after";
      else if (at(step.start) - taken > needed) side = "before";
      label.className = `took ${side}`;
      taken = at(end) + (side === "after" ? needed : 0);
    });
  }

  #density({ begin, span, count }) {
    if (!this.#tokens) return;
    const bins = new Uint32Array(BINS);
    for (const [time, index] of this.#steps.tokens) {
      if (index >= count) break;
      bins[Math.min(BINS - 1, Math.floor(((time - begin) / span) * BINS))] += 1;
    }
    const most = Math.max(1, ...bins);
    const lines = [];
    bins.forEach((number, bin) => {
      if (number) lines.push(`M${bin} 20h1v${-4 - (16 * number) / most}h-1z`);
    });
    this.#tokens.setAttribute("d", lines.join(""));
  }

  #moments({ begin, span, count }) {
    if (!this.#marks) return;
    const marks = this.#steps.marks.filter(({ index }) => index < count).slice(-MOST_MARKS);
    const known = this.#marks.children;
    marks.forEach(({ event }, position) => {
      const mark = known[position] ?? this.#marks.appendChild(make("i"));
      mark.className = `mark ${event.type.split(":")[0]}`;
      mark.style.left = percent((event.time - begin) / span);
      mark.title = `${event.type} ${event.step ?? event.name ?? ""}`.trim();
    });
    while (known.length > marks.length) this.#marks.lastChild.remove();
  }

  #ticks(span) {
    const step = interval(span / Math.max(3, Math.floor(this.clientWidth / 140)));
    const ticks = [];
    for (let time = 0; time <= span; time += step) {
      const tick = make("span", { className: "tick" }, duration(time, step));
      tick.style.left = percent(time / span);
      tick.classList.toggle("last", (1 - time / span) * this.#axis.clientWidth < TICK_WIDTH);
      ticks.push(tick);
    }
    this.#axis.replaceChildren(...ticks);
  }
}

function rowElement(name, whole, track, depth = 0) {
  const label = make("span", { className: "name", title: whole }, name);
  label.style.setProperty("--depth", depth);
  return make("li", {}, label, track);
}

/** Return the least of 1, 2, 5, 10 … that is not below `least`. */
function interval(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * (NICE.find((factor) => factor * power >= least) ?? 10);
}

/** Return milliseconds for people, as exact as `step` needs. */
export function duration(ms, step = ms) {
  if (ms === 0) return "0";
  if (ms < 1000 && step < 1000) return `${ms.toFixed(step < 1 ? 2 : step < 10 && ms < 100 ? 1 : 0)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(step < 100 ? 2 : step < 1000 || ms < 10_000 ? 1 : 0)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

function percent(part) {
  return `${Math.min(100, Math.max(0, part * 100)).toFixed(3)}%`;
}

customElements.define("timeline-view", TimelineView);
