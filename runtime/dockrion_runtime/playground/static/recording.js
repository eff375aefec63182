// The events of one execution as they arrived, and what their sequences prove.

const TERMINAL = new Set(["complete", "error", "cancelled"]);
const UNNUMBERED = new Set(["heartbeat", "gap"]);

/** Return an event's time in milliseconds; timestamps have microseconds, which Date drops. */
export function timeOf(event) {
  const stamp = event.timestamp;
  const fraction = /\.(\d+)/.exec(stamp)?.[1] ?? "";
  return Date.parse(stamp.replace(/\.\d+/, "")) + Number(`0.${fraction || 0}`) * 1000;
}

/** Return the names of the subgraphs that an event comes from, without the ids of their tasks. */
export function groupOf(event) {
  return (event.namespace ?? []).map((part) => part.split(":")[0]);
}

/** Return a node's id in the agent's graph: the names on the way to it. */
export function nodeOf(event) {
  return [...groupOf(event), event.node_name].join(":");
}

export class Recording {
  constructor() {
    this.events = []; // in order, each sequence once
    this.cursor = null; // the id of the last frame that had one: where to go on
    this.lost = 0;
    this.duplicated = 0;
    this.notKept = 0; // what the store had dropped, which a gap tells of
    this.terminal = null;
    this.arrived = 0; // by the page's clock, when the newest came
  }

  get first() {
    return this.events[0]?.sequence ?? 0;
  }

  get last() {
    return this.events.at(-1)?.sequence ?? 0;
  }

  /** Take an event as it comes from the wire, and the id of its frame. */
  add(event, id = null) {
    if (event.type === "gap") this.#gap(event);
    if (UNNUMBERED.has(event.type)) return;
    if (event.sequence === undefined) {
      this.terminal = event; // a run that is gone: the server says so, outside of its log
      return;
    }
    if (event.sequence <= this.last) {
      this.duplicated += 1;
      return;
    }
    if (!this.notKept || this.events.length) this.lost += event.sequence - this.last - 1;
    event.time = timeOf(event);
    this.cursor = id;
    this.events.push(event);
    this.arrived = performance.now();
    if (TERMINAL.has(event.type)) this.terminal = event;
  }

  #gap(event) {
    if (event.first_available <= this.last) {
      // The store lost what it had, and others were written in its place.
      const kept = this.countAt(event.first_available - 1);
      this.notKept += this.events.length - kept;
      this.events.length = kept;
      this.terminal = null;
      return;
    }
    this.notKept += event.first_available - event.requested;
    if (this.events.length) this.lost -= event.first_available - this.last - 1; // told of, so not lost
  }

  /** Return how many events there are up to a sequence. */
  countAt(sequence) {
    let [low, high] = [0, this.events.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.events[middle].sequence <= sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
