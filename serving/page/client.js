// Requests to the service that this page came from.

// Milliseconds until an answer no longer comes.
const PATIENCE = 30_000;
const KNOWN = new Set([
  "empty", "busy", "no_model", "unknown_model", "too_large", "too_many", "no_key", "not_shown",
]);

// Why there is no answer: one of KNOWN, "away" (no service, or a broken one) or "refused".
export class Trouble extends Error {
  constructor(kind, seconds = null) {
    super(kind);
    this.kind = kind;
    // After which to try again, if the service says so.
    this.seconds = seconds;
  }
}

// Of a service that asks for one; a grown-up opens the page with #key=… behind its address.
let key = null;

export function useKey(given) {
  key = given;
}

// Relative, so that the service may be below a prefix.
const address = (path) => new URL(path, document.baseURI).href;

// An example as an address that a picture can have; null where it cannot be had.
export async function exampleUrl({ name, version }, number, what) {
  const path = `v1/models/${encodeURIComponent(name)}/examples/${number}/${what}.png`
    + `?version=${encodeURIComponent(version)}`;
  if (!key) return address(path);
  // A picture's own request carries no key.
  const blob = await ask(path, {}, (answer) => answer.blob()).catch(() => null);
  return blob && URL.createObjectURL(blob);
}

export const fetchModels = () => ask("v1/models", { cache: "no-cache" }, async (answer) => (
  (await answer.json()).models
));

// `body` is an object, sent as JSON, or a picture's blob. Returns the picture that was made.
export function generate(model, body, signal) {
  const picture = body instanceof Blob;
  return ask(`v1/models/${encodeURIComponent(model)}/generate`, {
    method: "POST",
    headers: { "Content-Type": picture ? body.type : "application/json" },
    body: picture ? body : JSON.stringify(body),
    signal,
  }, async (answer) => (
    { blob: await answer.blob(), version: answer.headers.get("X-Model-Version") }
  ));
}

async function ask(path, { signal, headers, ...options }, read) {
  const own = new AbortController();
  const stop = () => own.abort();
  signal?.addEventListener("abort", stop);
  const late = setTimeout(stop, PATIENCE);
  try {
    const answer = await fetch(address(path), {
      ...options, headers: { ...headers, ...(key && { "X-API-Key": key }) }, signal: own.signal,
    });
    if (!answer.ok) throw await trouble(answer);
    return await read(answer);
  } catch (error) {
    throw error instanceof Trouble ? error : new Trouble("away");
  } finally {
    clearTimeout(late);
    signal?.removeEventListener("abort", stop);
  }
}

async function trouble(answer) {
  const told = await answer.json().catch(() => ({}));
  const after = Number.parseInt(answer.headers.get("Retry-After") ?? "", 10);
  const seconds = Number.isFinite(after) ? Math.min(60, Math.max(1, after)) : null;
  if (KNOWN.has(told.error)) return new Trouble(told.error, seconds);
  if (answer.status === 429) return new Trouble("too_many", seconds);
  // 408: the line was too slow for the drawing.
  const lost = answer.status >= 500 || answer.status === 408;
  return new Trouble(lost ? "away" : "refused", seconds);
}
