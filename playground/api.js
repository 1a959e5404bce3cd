/** The HTTP API, as the page uses it. Paths are relative, so that the page also works below a route prefix. */

/** A person waits longer for a whole answer than a shop would: the deadline of the page's reads. */
const DEADLINE_MS = 2000;

/** An answer that is an error: an RFC 9457 problem document, or what stands in for one. */
export class Problem extends Error {
  /** @param {{status: number, title: string, detail: string, code?: string, request_id?: string, retryable?: boolean, errors?: {field: string, message: string}[]}} body */
  constructor(body) {
    super(body.detail);
    this.status = body.status;
    this.title = body.title;
    this.code = body.code ?? null;
    this.requestId = body.request_id ?? null;
    this.retryable = body.retryable ?? false;
    this.errors = body.errors ?? [];
  }
}

/** @returns {Promise<Answer>} */
export function search(parameters, signal) {
  return read("v1/search", parameters, signal);
}

/** @returns {Promise<Answer>} */
export function recommendations(parameters, signal) {
  return read("v1/recommendations", parameters, signal);
}

/** @returns {Promise<object>} The product as last written. */
export async function product(id, signal) {
  return (await ask(`v1/products/${encodeURIComponent(id)}`, { signal })).body;
}

/** @returns {Promise<string[]>} Ids of users with many events. */
export async function users(limit) {
  return (await ask(`v1/users?limit=${limit}`)).body.users.map((user) => user.id);
}

/** @returns {Promise<{accepted: number, duplicates: number}>} */
export async function sendEvent(event) {
  const request = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ events: [event] }),
  };
  return (await ask("v1/events", request)).body;
}

/**
 * @typedef {{body: object, degraded: string|null}} Answer The body of a read and the X-Degraded header.
 */
async function read(path, parameters, signal) {
  const query = new URLSearchParams({ timeout_ms: DEADLINE_MS });
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of [value].flat()) {
      if (one !== null && one !== undefined && one !== "") query.append(name, one);
    }
  }
  const { body, headers } = await ask(`${path}?${query}`, { signal });
  return { body, degraded: headers.get("X-Degraded") };
}

/** @throws {Problem} anything but success; an abort is passed on as it is. */
async function ask(path, request = {}) {
  let response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({
      status: 0,
      title: "no answer",
      detail: "The server does not answer. Is it still running?",
      retryable: true,
    });
  }
  const body = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return null;
  });
  if (response.ok && body !== null) return { body, headers: response.headers };
  throw new Problem(
    body?.detail
      ? body
      : {
          status: response.status,
          title: response.statusText || "unexpected answer",
          detail: `The server answered ${response.status} without saying why.`,
          retryable: response.status >= 500,
        },
  );
}
