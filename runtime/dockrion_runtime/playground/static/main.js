// The page: learns from the server what there is, begins executions, and shows a moment of one of them.

import "./ask.js";
import "./events-view.js";
import "./graph-view.js";
import "./key-dialog.js";
import "./runs-list.js";
import "./text-view.js";
import "./theme-button.js";
import "./timeline-view.js";
import "./turns-list.js";
import { Away, Problem, ask, hasKey } from "./api.js";
import { choices } from "./choices.js";
import { eachFrame } from "./dom.js";
import { DirectStream, FollowedRun, Invocation } from "./execution.js";
import { Projection } from "./projection.js";
import { standing } from "./transport-bar.js";

const TICK = 100; // milliseconds between two looks at the clock while something runs
const POLL = 5000;

const one = (selector) => document.querySelector(selector);
const views = ["text-view", "graph-view", "timeline-view", "events-view", "transport-bar"].map(one);
const [box, turns, runs, dialog, bar] = ["ask-box", "turns-list", "runs-list", "key-dialog", "transport-bar"].map(one);

const followed = new Map(); // id → the run as this page has it
let current = null; // {execution, projection, position}; position null is the newest event
let begun = null; // the execution that was begun last
let kind = Invocation;
let header = null; // that the server takes a key in

const render = eachFrame(() => {
  if (!current) return;
  const { execution, projection, position } = current;
  const { recording, phase } = execution;
  const whole = recording.events.length;
  const count = position === null ? whole : recording.countAt(position);
  const atEnd = count === whole;
  const state = projection.at(count);
  const live = atEnd && phase === "live" && recording.terminal === null;
  for (const view of views) view.show({ execution, state, count, atEnd, live });
  if (atEnd) turns.show?.(execution, state);
  box.busy = begun !== null && !begun.over && begun.phase !== "left";
  announce(execution);
});

function announce(execution) {
  const [, text] = standing(execution);
  const { recording, problem } = execution;
  const ended = recording.terminal ? `, ${recording.events.length} events` : "";
  const why = execution.over && problem ? `: ${problem.message}` : "";
  const said = `${text}${ended}${why}`;
  if (one("#said").textContent !== said) one("#said").textContent = said;
}

function look(execution) {
  const before = current?.execution;
  if (before === execution) return;
  if (before?.durable && !before.over && before.phase === "live") before.leave();
  current = { execution, projection: new Projection(execution.recording), position: null };
  runs.current = execution.id;
  render();
}

function watch(execution) {
  let [known, over] = [false, false];
  execution.addEventListener("change", () => {
    if (current?.execution === execution) render();
    if (execution.durable && execution.id && !known) {
      known = true;
      followed.set(execution.id, execution);
      runs.refresh().then(() => {
        if (current?.execution === execution) runs.current = execution.id;
      });
    }
    if (execution.over && !over) {
      over = true;
      if (execution.phase === "refused") refused(execution);
      if (execution.durable) runs.refresh();
    }
  });
}

function refused({ problem }) {
  if (problem.status === 401) askForKey(problem, "The key is not valid any more.");
  else if (problem instanceof Away) check();
  else if (problem.errors?.length || problem.status === 400) box.refuse(problem);
}

function begin(payload, message) {
  const execution = new kind();
  begun = execution;
  watch(execution);
  const thread = message === null ? null : turns.thread;
  if (message !== null) turns.add(message, execution);
  look(execution);
  if (bar.getBoundingClientRect().bottom > innerHeight) bar.scrollIntoView({ block: "start" });
  execution.start(payload, thread);
}

function open(run) {
  let execution = followed.get(run.run_id);
  if (execution?.phase === "left") execution.rejoin();
  else if (!execution || execution.phase === "failed") {
    execution = new FollowedRun();
    watch(execution);
    execution.open(run.run_id);
  }
  look(execution);
}

async function act(name) {
  const { execution } = current;
  if (name === "plug") execution.pullPlug();
  if (name === "leave") execution.leave();
  if (name === "rejoin") execution.rejoin();
  if (name !== "cancel") return;
  try {
    await execution.cancel();
  } catch (error) {
    if (error.code !== "RUN_ENDED") complain(error);
  }
}

async function askForKey(problem, why) {
  header = problem.header ?? header;
  if (await dialog.ask(header, why)) await load();
}

function complain(error) {
  const banner = one("#banner");
  const away = error instanceof Away;
  const text = away ? `The server does not answer: ${error.message}. Is it still running?` : `${error.message} (${error.code})`;
  banner.firstElementChild.textContent = text;
  banner.hidden = false;
}

/** Learn what the server serves and show it; where that fails, say why and how to go on. */
async function load() {
  let info;
  let schema;
  try {
    [info, schema] = await Promise.all([ask("GET", "info"), ask("GET", "schema")]);
  } catch (error) {
    if (!(error instanceof Problem && error.status === 401)) complain(error);
    else {
      header = error.header;
      const why = hasKey() ? "That key was refused." : `The server takes it in the header ${header}.`;
      if (!(await dialog.ask(header, why))) complain(error);
      else await load();
    }
    return;
  }
  one("#banner").hidden = true;
  if (one("#page").hidden) await furnish(info, schema);
  check();
}

async function furnish(info, schema) {
  document.title = `${info.name} · playground`;
  one("#name").textContent = info.name;
  one("#about").textContent = info.description || `served by dockrion ${info.version}, ${info.framework}`;
  one("#docs").hidden = info.auth !== "none"; // a link sends no key
  one("#key").hidden = info.auth === "none";
  box.prepare(info, schema.input, begin);
  ways(info);
  if (info.chat) {
    turns.prepare(info.chat.keeps_threads, look);
    box.addEventListener("change", () => (turns.hidden = box.mode !== "chat"));
    turns.hidden = false;
  }
  one("#page").hidden = false;
  if (info.graph) await drawGraph();
  if (info.runs) {
    runs.hidden = false;
    await runs.prepare(open);
  }
}

/** Offer the kinds of executions that the server has. */
function ways(info) {
  const kinds = { run: FollowedRun, stream: DirectStream };
  const offered = {};
  if (info.runs) offered.run = "Durable run";
  if (info.expose.streaming.includes("sse")) offered.stream = "Direct stream";
  kind = kinds[Object.keys(offered)[0]] ?? Invocation;
  one("#ways").append(choices("Execute as", offered, (name) => (kind = kinds[name])));
}

async function drawGraph() {
  one("#graph").hidden = false;
  try {
    one("graph-view").draw(await ask("GET", "graph"));
  } catch (error) {
    one("graph-view").lack(`There is no drawing: ${error.message}.`);
  }
}

/** Show whether the server takes work. */
async function check() {
  const mark = one("#server");
  let state;
  try {
    state = (await ask("GET", "ready")).status;
  } catch (error) {
    state = error instanceof Away ? "away" : (error.said?.status ?? "not ready");
  }
  if (mark.textContent !== state) mark.textContent = state;
  mark.dataset.state = state;
}

bar.addEventListener("seek", ({ detail }) => {
  current.position = detail;
  render();
});
bar.addEventListener("act", ({ detail }) => act(detail));
one("#banner button").addEventListener("click", load);
one("#key").addEventListener("click", () => askForKey({}, "Use another key."));
setInterval(() => current?.execution.phase === "live" && current.position === null && render(), TICK);
setInterval(() => document.visibilityState === "visible" && check(), POLL);
load();
