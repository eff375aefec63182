// The steps of a recording: when each node ran, told from the events of steps and, before those, of tokens.

import { groupOf, nodeOf } from "./recording.js";

/**
 * Reads a recording as it grows. A step is {id, name, depth, start, end, from, until, told, timed, cut}: times in
 * milliseconds (`end` null while it runs), and the indexes of the events that began and ended it. Of one that
 * was not `told` when it began, both are the end's; the start of one that is `timed` is that of its step_started.
 */
export class Steps {
  constructor(recording) {
    this.recording = recording;
    this.all = [];
    this.open = new Set();
    this.tokens = []; // [time, index]
    this.marks = []; // {event, index}: everything that happens at a moment
    this.read = 0;
  }

  advance() {
    const { events } = this.recording;
    for (; this.read < events.length; this.read += 1) this.#take(events[this.read], this.read);
  }

  #take(event, index) {
    switch (event.type) {
      case "step_started":
        this.#begin(event, index);
        break;
      case "step":
        this.#end(event, index);
        break;
      case "token":
        this.tokens.push([event.time, index]);
        if (event.node_name && !this.#opened(event)) this.#begin(event, index);
        break;
      case "complete":
      case "error":
      case "cancelled":
        this.#cut(event, index);
        break;
      case "restarted":
        this.#cut(event, index);
        this.marks.push({ event, index });
        break;
      case "started":
        break;
      default:
        this.marks.push({ event, index });
    }
  }

  #cut(event, index) {
    for (const step of this.open) Object.assign(step, { end: event.time, until: index, cut: true });
    this.open.clear();
  }

  #begin(event, index) {
    const step = {
      id: nodeOf(event),
      name: event.node_name,
      place: placeOf(event),
      depth: groupOf(event).length,
      start: event.time,
      end: null,
      from: index,
      until: null,
      told: event.type !== "step",
      timed: event.type === "step_started",
      cut: false,
    };
    this.all.push(step);
    this.open.add(step);
    return step;
  }

  /**
   * End the step that this can be the end of: of several of one node, the one that began when it says.
   * Events of one millisecond may share its time. Where the start was told it stays, for one counted back from
   * the end could lie before that of a step it followed.
   */
  #end(event, index) {
    const duration = event.duration_ms ?? null;
    const start = duration === null ? null : event.time - duration;
    const step = this.#opened(event, start) ?? this.#begin(event, index);
    Object.assign(step, { end: event.time, until: index });
    if (duration !== null && step.timed) step.end = step.start + duration;
    else if (duration !== null) step.start = start;
    this.open.delete(step);
  }

  #opened(event, start = event.time) {
    const place = placeOf(event);
    let found = null;
    for (const step of this.open) {
      if (step.place !== place) continue;
      if (!found || Math.abs(step.start - start) < Math.abs(found.start - start)) found = step;
    }
    return found;
  }
}

function placeOf(event) {
  return [...(event.namespace ?? []), event.node_name].join("|");
}

/**
 * Return the rows of a timeline: {id, name, depth, steps}. A node has one, and as many as it runs at once;
 * the nodes of a subgraph follow the one that they run in.
 */
export function rowsOf(steps) {
  const nodes = new Map();
  for (const step of steps) {
    if (!nodes.has(step.id)) nodes.set(step.id, { begin: step.from, lanes: [] });
    const { lanes } = nodes.get(step.id);
    const lane = lanes.find((one) => (one.at(-1).end ?? Infinity) <= step.start + 1);
    if (lane) lane.push(step);
    else lanes.push([step]);
  }
  const order = (id) => {
    const names = id.split(":");
    return names.map((_, depth) => nodes.get(names.slice(0, depth + 1).join(":"))?.begin ?? 0);
  };
  return [...nodes]
    .sort(([one], [other]) => compare(order(one), order(other)))
    .flatMap(([id, { lanes }]) => lanes.map((lane) => ({ id, name: lane[0].name, depth: lane[0].depth, steps: lane })));
}

function compare(one, other) {
  for (let depth = 0; depth < Math.min(one.length, other.length); depth += 1) {
    if (one[depth] !== other[depth]) return one[depth] - other[depth];
  }
  return one.length - other.length;
}
