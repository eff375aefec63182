// What a recording amounts to at one of its events: the text so far, and which nodes run.

import { groupOf, nodeOf } from "./recording.js";

class State {
  constructor() {
    this.blocks = new Map(); // message or node → {label, kind, text}, in the order of their beginning
    this.nodes = new Map(); // id → {running, done, failed}
    this.progress = new Map();
    this.terminal = null;
    this.attempt = 1; // what another executor says is said anew
  }
}

/** Plays a recording to any position; going on costs the events in between, going back a replay. */
export class Projection {
  #recording;
  #count = 0;
  #state = new State();

  constructor(recording) {
    this.#recording = recording;
  }

  /** Return the state behind the first `count` events. It changes with the next call. */
  at(count) {
    if (count < this.#count) {
      this.#state = new State();
      this.#count = 0;
    }
    while (this.#count < count) {
      apply(this.#state, this.#recording.events[this.#count]);
      this.#count += 1;
    }
    return this.#state;
  }
}

function apply(state, event) {
  HANDLERS[event.type]?.(state, event);
}

const HANDLERS = {
  token(state, event) {
    speak(state, event, "text");
    const node = event.node_name && nodeOf(event);
    if (node && !state.nodes.get(node)?.running) begin(state, event, node);
  },
  reasoning(state, event) {
    speak(state, event, "reasoning");
  },
  step_started(state, event) {
    begin(state, event, nodeOf(event), 1);
  },
  step(state, event) {
    const id = nodeOf(event);
    const node = entry(state, id);
    node.running = Math.max(0, node.running - 1);
    node.done += 1;
  },
  progress(state, event) {
    state.progress.delete(event.step); // the newest comes last
    state.progress.set(event.step, event);
  },
  restarted(state, event) {
    state.attempt = event.attempt;
    for (const node of state.nodes.values()) node.running = 0;
  },
  complete: end,
  error: end,
  cancelled: end,
};

function end(state, event) {
  state.terminal = event;
  for (const node of state.nodes.values()) {
    if (node.running && event.type === "error") node.failed = true;
    node.running = 0;
  }
}

function begin(state, event, id) {
  entry(state, id).running += 1;
  const groups = groupOf(event);
  groups.forEach((_, depth) => entry(state, groups.slice(0, depth + 1).join(":")));
}

function entry(state, id) {
  if (!state.nodes.has(id)) state.nodes.set(id, { running: 0, done: 0, failed: false });
  return state.nodes.get(id);
}

function speak(state, event, kind) {
  const speaker = event.message_id ?? (event.node_name ? nodeOf(event) : "");
  const name = `${state.attempt} ${kind} ${speaker}`;
  let block = state.blocks.get(name);
  if (!block) {
    block = { kind, label: event.node_name ? nodeOf(event).replaceAll(":", " › ") : "", text: "" };
    state.blocks.set(name, block);
  }
  block.text += event.content;
}
