// Talking to the server. The key is kept in this module's memory and sent in a header, nowhere else.

const base = new URL("..", import.meta.url);

let key = null; // {header, value}

/** What the server answered in place of what was asked for: its status, its code, and all it said. */
export class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body.detail ?? `the server answered ${status}`);
    this.status = status;
    this.said = body;
    this.code = body.code ?? `HTTP ${status}`;
    this.errors = body.errors ?? [];
    this.id = body.request_id ?? null;
    this.header = body.header ?? null;
    this.retryAfter = retryAfter;
  }
}

/** The server did not answer at all. */
export class Away extends Error {
  constructor() {
    super(`nothing answers at ${base.host}`);
    this.code = "SERVER_AWAY";
  }
}

export function useKey(header, value) {
  key = value ? { header, value } : null;
}

export function hasKey() {
  return key !== null;
}

/** Return the response to a request. Throws `Problem`, `Away`, and `AbortError` where `signal` says so. */
export async function request(method, path, { body, headers = {}, signal } = {}) {
  const sent = new Headers(headers);
  if (key) sent.set(key.header, key.value);
  if (body !== undefined) sent.set("Content-Type", "application/json");
  let response;
  try {
    response = await fetch(new URL(path, base), { method, body, headers: sent, signal, cache: "no-store" });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Away();
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Problem(response.status, said, response.headers.get("Retry-After"));
}

/** Return what a route answers, as an object. */
export async function ask(method, path, options) {
  const response = await request(method, path, options);
  return response.json();
}

/** Return a query string for what is given; nothing for what is null. */
export function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
