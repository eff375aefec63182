// <transport-bar>: where an execution stands, what can be done to it, and the way to any of its moments.

import { make, newId } from "./dom.js";
import { duration } from "./timeline-view.js";

const SLOWEST = 600; // milliseconds that a replay waits for an event at most
const PHASES = {
  sending: "Sending",
  away: "Server away, trying again",
  unplugged: "Plug pulled, coming back",
  left: "Left; the run goes on",
  failed: "Connection lost",
  refused: "Refused",
};
const ENDS = { complete: "Completed", error: "Failed", cancelled: "Cancelled" };

class TransportBar extends HTMLElement {
  #parts = {};
  #moment = null;
  #replay = 0;

  connectedCallback() {
    const button = (name, label, title) => {
      const made = make("button", { type: "button", hidden: true, title }, label);
      made.addEventListener("click", () => this.#ask(name));
      return made;
    };
    const range = make("input", { type: "range", id: newId("scrub"), min: 0, max: 0, value: 0, disabled: true });
    range.addEventListener("input", () => {
      this.#halt();
      this.#seek(Number(range.value));
    });
    this.#parts = {
      pill: make("span", { className: "pill" }, "Idle"),
      facts: make("span", { className: "facts" }),
      cancel: button("cancel", "Cancel", "End the execution"),
      leave: button("leave", "Leave", "Stop watching; the run goes on"),
      rejoin: button("rejoin", "Rejoin", "Go on behind the last event that arrived"),
      plug: button("plug", "Pull the plug", "Drop the connection and see it come back"),
      range,
      where: make("output", { className: "where", htmlFor: range.id }, "0 / 0"),
      play: button("play", "Replay", "Play it again at its own pace"),
      end: button("end", "To the end", "Show the newest event"),
      resumes: make("p", { className: "resumes", role: "status" }),
    };
    const { pill, facts, cancel, leave, rejoin, plug, where, play, end, resumes } = this.#parts;
    const scrub = make("div", { className: "scrub" }, make("label", { htmlFor: range.id }, "Sequence"), range, where, play, end);
    const line = make("div", { className: "line" }, pill, facts, make("div", { className: "acts" }, plug, leave, rejoin, cancel));
    this.replaceChildren(line, scrub, resumes);
  }

  show(moment) {
    this.#moment = moment;
    if (!moment) return;
    const { execution, atEnd, count } = moment;
    const { recording, phase, durable } = execution;
    const { pill, facts, cancel, leave, rejoin, plug, range, where, play, end, resumes } = this.#parts;
    const focused = document.activeElement;
    const [name, text] = standing(execution);
    if (pill.textContent !== text) pill.textContent = text;
    pill.className = `pill ${name}`;
    facts.textContent = [execution.id && shortened(execution.id), took(recording)].filter(Boolean).join(" · ");
    facts.title = execution.id ?? "";
    const going = ["live", "away", "unplugged"].includes(phase);
    cancel.hidden = recording.terminal !== null || execution.over || (durable ? !execution.id : phase === "sending");
    leave.hidden = !(durable && going);
    rejoin.hidden = phase !== "left";
    plug.hidden = !(durable && phase === "live" && recording.last);
    range.min = recording.first;
    range.max = recording.last;
    range.disabled = recording.events.length < 2;
    const shown = recording.events[count - 1];
    range.value = shown?.sequence ?? 0;
    range.setAttribute("aria-valuetext", shown ? `event ${shown.sequence} of ${recording.last}, ${shown.type}` : "no event");
    where.textContent = `${shown?.sequence ?? 0} / ${recording.last}`;
    end.hidden = atEnd;
    play.hidden = recording.events.length < 2 || moment.live;
    play.textContent = this.#replay ? "Pause" : "Replay";
    if (focused.hidden && this.contains(focused)) range.focus(); // so that the keyboard is not sent back to the top
    const report = reported(execution);
    if (resumes.textContent !== report) resumes.textContent = report;
  }

  #ask(name) {
    if (name === "play") this.#play();
    else if (name === "end") {
      this.#halt();
      this.#seek(null);
    } else this.dispatchEvent(new CustomEvent("act", { detail: name }));
  }

  #seek(sequence) {
    const { recording } = this.#moment.execution;
    this.dispatchEvent(new CustomEvent("seek", { detail: sequence === recording.last ? null : sequence }));
  }

  #halt() {
    clearTimeout(this.#replay);
    this.#replay = 0;
  }

  #play() {
    if (this.#replay) {
      this.#halt();
      this.show(this.#moment);
      return;
    }
    const { recording } = this.#moment.execution;
    let index = this.#moment.atEnd ? 0 : this.#moment.count;
    const next = () => {
      if (this.#moment.execution.recording !== recording) return this.#halt();
      const event = recording.events[index];
      const after = recording.events[index + 1];
      this.#replay = after ? setTimeout(next, Math.min(after.time - event.time, SLOWEST)) : 0;
      index += 1;
      this.#seek(event.sequence);
    };
    next();
  }
}

/** Return a name and a text for how an execution stands. */
export function standing({ phase, problem, recording, durable }) {
  if (recording.terminal) return [recording.terminal.type, ENDS[recording.terminal.type]];
  if (phase === "live") return recording.last ? ["running", "Running"] : ["waiting", durable ? "Accepted" : "Waiting"];
  return [phase, problem?.code === "SERVER_AWAY" && phase === "refused" ? "No answer" : (PHASES[phase] ?? "Ended")];
}

function took(recording) {
  if (!recording.events.length) return "";
  const seconds = recording.terminal?.latency_seconds;
  const number = `${recording.events.length} event${recording.events.length === 1 ? "" : "s"}`;
  return seconds === undefined ? number : `${duration(seconds * 1000)} · ${number}`;
}

function shortened(id) {
  return id.length > 20 ? `${id.slice(0, 8)}…${id.slice(-4)}` : id;
}

function reported({ resumes, recording }) {
  const last = resumes.at(-1);
  if (!last) return recording.lost || recording.duplicated ? counts(recording.lost, recording.duplicated) : "";
  const told = counts(recording.lost - last.lostBefore, recording.duplicated - last.duplicatedBefore);
  const times = resumes.length > 1 ? ` (connection ${resumes.length + 1})` : "";
  return `Resumed behind event ${last.after} after ${last.seconds.toFixed(1)} s${times}: ${told}.`;
}

function counts(lost, duplicated) {
  return `${lost} lost, ${duplicated} duplicated`;
}

customElements.define("transport-bar", TransportBar);
