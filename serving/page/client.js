// Client of the API that this page was served by.

const TIMEOUT_MS = 30_000;
const API_ERRORS = new Set([
  "empty", "busy", "no_model", "unknown_model", "too_large", "too_many", "no_key", "not_shown",
]);

// A failed request. `code` is one of API_ERRORS, "offline" (no response, or a server error) or
// "rejected" (any other error).
export class RequestError extends Error {
  constructor(code, retryAfter = null) {
    super(code);
    this.code = code;
    // Seconds until the next try, if the server sent them.
    this.retryAfter = retryAfter;
  }
}

// Sent with every request; an adult opens the page once with #key=… appended to its URL.
let apiKey = null;

export function setApiKey(key) {
  apiKey = key;
}

// Relative to the page, which may be mounted below a path prefix.
const resolveUrl = (path) => new URL(path, document.baseURI).href;

// Returns a URL for an example's img element; null if the example cannot be fetched.
export async function getExampleUrl({ name, version }, number, kind) {
  const path = `v1/models/${encodeURIComponent(name)}/examples/${number}/${kind}.png`
    + `?version=${encodeURIComponent(version)}`;
  if (!apiKey) return resolveUrl(path);
  // An img element cannot send the key.
  const blob = await send(path, {}, (response) => response.blob()).catch(() => null);
  return blob && URL.createObjectURL(blob);
}

export const fetchModels = () => send("v1/models", { cache: "no-cache" }, async (response) => (
  (await response.json()).models
));

// Generates a picture from `body`: an object, sent as JSON, or a blob. Returns the picture's blob
// and the model's version.
export function generate(model, body, signal) {
  const isBlob = body instanceof Blob;
  return send(`v1/models/${encodeURIComponent(model)}/generate`, {
    method: "POST",
    headers: { "Content-Type": isBlob ? body.type : "application/json" },
    body: isBlob ? body : JSON.stringify(body),
    signal,
  }, async (response) => (
    { blob: await response.blob(), version: response.headers.get("X-Model-Version") }
  ));
}

async function send(path, { signal, headers, ...options }, readBody) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  signal?.addEventListener("abort", abort);
  const timer = setTimeout(abort, TIMEOUT_MS);
  try {
    const response = await fetch(resolveUrl(path), {
      ...options,
      headers: { ...headers, ...(apiKey && { "X-API-Key": apiKey }) },
      signal: controller.signal,
    });
    if (!response.ok) throw await toRequestError(response);
    return await readBody(response);
  } catch (error) {
    throw error instanceof RequestError ? error : new RequestError("offline");
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

async function toRequestError(response) {
  const body = await response.json().catch(() => ({}));
  const header = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const retryAfter = Number.isFinite(header) ? Math.min(60, Math.max(1, header)) : null;
  if (API_ERRORS.has(body.error)) return new RequestError(body.error, retryAfter);
  if (response.status === 429) return new RequestError("too_many", retryAfter);
  // 408: the connection was too slow for the drawing.
  const isTransient = response.status >= 500 || response.status === 408;
  return new RequestError(isTransient ? "offline" : "rejected", retryAfter);
}
