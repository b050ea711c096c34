// Generates the picture of the drawing: sends the latest drawing after a pause, and retries.

import { renderPng } from "./canvas.js";
import { RequestError, generate } from "./client.js";
import { toRequestBody } from "./drawing.js";

const IDLE_DELAY_MS = 400;
const RETRYABLE = new Set(["busy", "too_many", "no_model", "offline"]);
// Used if the server sends no Retry-After.
const RETRY_DELAYS_S = [2, 4, 8, 15];
const PNG_SIDE = 512;

// `onUpdate(state, detail)` is called with "working"; with "picture" and {blob, version, model,
// strokes}; or with the code of a RequestError and {seconds} until the next try, null if none.
export class Preview {
  #pending = null;
  #timer = 0;
  #controller = null;
  #failures = 0;
  #notBefore = 0;
  #idleCallbacks = [];

  constructor(onUpdate) {
    this.onUpdate = onUpdate;
    window.addEventListener("online", () => this.retryNow());
  }

  get isIdle() {
    return this.#pending === null;
  }

  // Requests a picture; replaces a previous request.
  request(model, strokes, delay = IDLE_DELAY_MS) {
    this.#pending = { model, strokes };
    this.#schedule(delay);
  }

  // Sends nothing while a stroke is drawn.
  pause() {
    clearTimeout(this.#timer);
  }

  resume() {
    if (this.#pending) this.#schedule(IDLE_DELAY_MS);
  }

  cancel() {
    clearTimeout(this.#timer);
    this.#controller?.abort();
    this.#finish();
  }

  // Retries immediately instead of after the delay.
  retryNow() {
    if (this.#notBefore <= Date.now() || !this.#pending) return;
    this.#notBefore = 0;
    this.#schedule(0);
  }

  // Resolves when no request is pending, or after `timeout` milliseconds.
  waitUntilIdle(timeout) {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idleCallbacks.push(resolve);
      setTimeout(resolve, timeout);
    });
  }

  #schedule(delay) {
    clearTimeout(this.#timer);
    const wait = Math.max(delay, this.#notBefore - Date.now());
    this.#timer = setTimeout(() => this.#send(), wait);
  }

  async #send() {
    this.#controller?.abort();
    const controller = new AbortController();
    this.#controller = controller;
    const pending = this.#pending;
    const isCurrent = () => !controller.signal.aborted && this.#pending === pending;
    if (!this.#failures) this.onUpdate("working", {});
    try {
      const { blob, version } = await this.#generate(pending, controller.signal);
      if (controller.signal.aborted) return;
      this.#failures = 0;
      this.onUpdate("picture", { blob, version, ...pending });
      if (isCurrent()) this.#finish();
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      if (!isCurrent()) return;
      let seconds = null;
      if (RETRYABLE.has(error.code)) {
        seconds = error.retryAfter
          ?? RETRY_DELAYS_S[Math.min(this.#failures, RETRY_DELAYS_S.length - 1)];
        this.#failures += 1;
        this.#notBefore = Date.now() + 1000 * seconds;
        this.#schedule(0);
      } else {
        this.#failures = 0;
        this.#finish();
      }
      this.onUpdate(error.code, { seconds });
    }
  }

  async #generate({ model, strokes }, signal) {
    try {
      return await generate(model, toRequestBody(strokes), signal);
    } catch (error) {
      // Very many strokes are smaller as a PNG.
      if (error.code !== "too_large") throw error;
      return await generate(model, await renderPng(strokes, PNG_SIDE), signal);
    }
  }

  #finish() {
    this.#pending = null;
    for (const resolve of this.#idleCallbacks.splice(0)) resolve();
  }
}
