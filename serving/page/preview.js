// The picture that goes with the drawing: asked for when the hand rests, the latest wish counts.

import { toPng } from "./canvas.js";
import { Trouble, generate } from "./client.js";
import { toRequest } from "./drawing.js";

const REST = 400;
const WAITS = new Set(["busy", "too_many", "no_model", "away"]);
// Seconds between tries when the service does not say.
const PAUSES = [2, 4, 8, 15];
const PNG_SIDE = 512;

// `report(kind, detail)`: "working"; "picture" with {blob, version, model, strokes}; or the kind
// of a Trouble with {seconds} until it is tried again, null where trying again is no use.
export class Live {
  #wish = null;
  #timer = 0;
  #request = null;
  #failures = 0;
  #notBefore = 0;
  #settled = [];

  constructor(report) {
    this.report = report;
    window.addEventListener("online", () => this.now());
  }

  get idle() {
    return this.#wish === null;
  }

  want(model, strokes, rest = REST) {
    this.#wish = { model, strokes };
    this.#plan(rest);
  }

  // While a hand draws nothing new is asked for.
  hold() {
    clearTimeout(this.#timer);
  }

  resume() {
    if (this.#wish) this.#plan(REST);
  }

  forget() {
    clearTimeout(this.#timer);
    this.#request?.abort();
    this.#done();
  }

  // Tries at once what waits for its next try.
  now() {
    if (this.#notBefore <= Date.now() || !this.#wish) return;
    this.#notBefore = 0;
    this.#plan(0);
  }

  // Resolves when nothing is wished for any more, or after that many milliseconds.
  settled(patience) {
    if (this.idle) return Promise.resolve();
    return new Promise((resolve) => {
      this.#settled.push(resolve);
      setTimeout(resolve, patience);
    });
  }

  #plan(rest) {
    clearTimeout(this.#timer);
    const wait = Math.max(rest, this.#notBefore - Date.now());
    this.#timer = setTimeout(() => this.#go(), wait);
  }

  async #go() {
    this.#request?.abort();
    const request = new AbortController();
    this.#request = request;
    const wish = this.#wish;
    const latest = () => !request.signal.aborted && this.#wish === wish;
    if (!this.#failures) this.report("working", {});
    try {
      const { blob, version } = await this.#ask(wish, request.signal);
      if (request.signal.aborted) return;
      this.#failures = 0;
      this.report("picture", { blob, version, ...wish });
      if (latest()) this.#done();
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      if (!latest()) return;
      let seconds = null;
      if (WAITS.has(error.kind)) {
        seconds = error.seconds ?? PAUSES[Math.min(this.#failures, PAUSES.length - 1)];
        this.#failures += 1;
        this.#notBefore = Date.now() + 1000 * seconds;
        this.#plan(0);
      } else {
        this.#failures = 0;
        this.#done();
      }
      this.report(error.kind, { seconds });
    }
  }

  async #ask({ model, strokes }, signal) {
    try {
      return await generate(model, toRequest(strokes), signal);
    } catch (error) {
      // A whole afternoon's scribbles are less as pixels.
      if (error.kind !== "too_large") throw error;
      return await generate(model, await toPng(strokes, PNG_SIDE), signal);
    }
  }

  #done() {
    this.#wish = null;
    for (const resolve of this.#settled.splice(0)) resolve();
  }
}
