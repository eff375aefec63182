// One execution and the connection to it: a direct stream, or a run that can be left and rejoined.

import { Away, Problem, ask, query, request } from "./api.js";
import { Recording } from "./recording.js";
import { events } from "./sse.js";

const PLUG_SECONDS = 1.2; // long enough for the agent to say something to nobody
const PATIENCE = [0.5, 1, 2, 4, 8]; // seconds before each further attempt

function wait(seconds) {
  return new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
  });
}

/**
 * `phase` is one of: sending, live, away (trying again), unplugged, left, ended, failed, refused. `change`
 * events say that something is new.
 */
class Execution extends EventTarget {
  constructor() {
    super();
    this.recording = new Recording();
    this.phase = "sending";
    this.problem = null;
    this.resumes = []; // of each connection after the first: behind which sequence, and the counts before
    this.id = null;
    this.connection = null;
  }

  get over() {
    return ["ended", "failed", "refused"].includes(this.phase);
  }

  become(phase, problem = null) {
    this.phase = phase;
    this.problem = problem;
    this.tell();
  }

  tell() {
    this.dispatchEvent(new Event("change"));
  }

  take(event, id = null) {
    this.recording.add(event, id);
    this.id ??= event.run_id ?? event.request_id ?? null;
    this.tell();
  }

  /** Read a response to its end; say whether the execution has ended with it. */
  async read(response) {
    if (this.phase !== "live") this.become("live");
    for await (const { event, id } of events(response)) this.take(event, id);
    return this.recording.terminal !== null;
  }
}

/** A direct stream: leaving it stops the agent, and a connection that breaks cannot be mended. */
export class DirectStream extends Execution {
  durable = false;

  async start(payload, thread) {
    this.connection = new AbortController();
    const { signal } = this.connection;
    try {
      const path = `invoke/stream${query({ thread_id: thread })}`;
      const ended = await this.read(await request("POST", path, { body: JSON.stringify(payload), signal }));
      this.become(ended ? "ended" : "failed", ended ? null : new Away());
    } catch (error) {
      if (signal.aborted) this.become("failed", { code: "LEFT", message: "stopped by leaving" });
      else this.become(this.recording.last ? "failed" : "refused", error instanceof Problem ? error : new Away());
    }
  }

  async cancel() {
    this.connection.abort();
  }
}

/** An execution without a stream: one answer, put as the two events it stands for. */
export class Invocation extends Execution {
  durable = false;

  async start(payload, thread) {
    this.connection = new AbortController();
    const { signal } = this.connection;
    const begun = new Date().toISOString();
    try {
      const path = `invoke${query({ thread_id: thread })}`;
      const answer = await ask("POST", path, { body: JSON.stringify(payload), signal });
      this.take({ type: "started", agent_name: answer.metadata.agent, timestamp: begun, sequence: 1 });
      const { latency_seconds } = answer.metadata;
      const timestamp = new Date().toISOString();
      this.take({ type: "complete", output: answer.output, latency_seconds, timestamp, sequence: 2 });
      this.become("ended");
    } catch (error) {
      this.become("refused", signal.aborted ? { code: "LEFT", message: "stopped by leaving" } : error);
    }
  }

  async cancel() {
    this.connection.abort();
  }
}

/** A run: its log is followed from a cursor, over as many connections as it takes. */
export class FollowedRun extends Execution {
  durable = true;
  #followers = 0; // a loop that waits when the run is rejoined must not go on beside the new one
  #cutAt = null;

  async start(payload, thread) {
    try {
      const made = await ask("POST", `runs${query({ thread_id: thread })}`, { body: JSON.stringify(payload) });
      this.id = made.run_id;
      this.tell();
    } catch (error) {
      this.become("refused", error);
      return;
    }
    await this.follow();
  }

  open(id) {
    this.id = id;
    return this.follow();
  }

  /** Follow to the end, or until left. A connection that breaks is replaced by another. */
  async follow() {
    this.#followers += 1;
    const mine = this.#followers;
    let failures = 0;
    while (!this.over && this.phase !== "left" && mine === this.#followers) {
      const before = this.recording.last;
      try {
        await this.#connect();
        if (this.recording.terminal) this.become("ended");
        else if (this.phase !== "left") await wait(this.phase === "unplugged" ? PLUG_SECONDS : PATIENCE[0]);
        failures = this.recording.last > before ? 0 : failures;
      } catch (error) {
        if (error instanceof Problem && error.status < 500 && error.status !== 429) {
          this.become(this.recording.last ? "failed" : "refused", error);
          return;
        }
        this.become("away", error);
        await wait(Number(error.retryAfter) || PATIENCE[Math.min(failures, PATIENCE.length - 1)]);
        failures += 1;
      }
    }
  }

  async #connect() {
    const { last, cursor, lost, duplicated } = this.recording;
    this.connection = new AbortController();
    const { signal } = this.connection;
    const begun = this.#cutAt ?? performance.now();
    const headers = last ? { "Last-Event-ID": cursor ?? String(last) } : {};
    try {
      const response = await request("GET", `runs/${this.id}/events`, { headers, signal });
      if (last) {
        const seconds = (performance.now() - begun) / 1000;
        this.resumes.push({ after: last, seconds, lostBefore: lost, duplicatedBefore: duplicated });
        this.#cutAt = null;
      }
      if (response.status === 204) this.become("ended");
      else await this.read(response);
    } catch (error) {
      if (signal.aborted) return;
      throw error instanceof Problem ? error : new Away();
    }
  }

  /** Drop the connection without a word, as a network would; it comes back by itself. */
  pullPlug() {
    this.#cutAt = performance.now();
    this.become("unplugged");
    this.connection.abort();
  }

  /** Stop watching; the run goes on. */
  leave() {
    this.become("left");
    this.connection.abort();
  }

  rejoin() {
    this.#cutAt = performance.now();
    this.become("sending");
    return this.follow();
  }

  async cancel() {
    await ask("DELETE", `runs/${this.id}${query({ reason: "cancelled in the playground" })}`);
  }
}
