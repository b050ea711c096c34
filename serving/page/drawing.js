// What is drawn, and the way back: every step is a list of strokes, and strokes are shared.

import { SIDE, Smoother, erase, onSheet, simplify } from "./strokes.js";

const STEPS = 200;
const ERASER = 32;

// Events: "start" (a hand draws), "ink" (there is more to see; detail: the points that are new in
// a line, or null when all has to be painted anew), "change" (a step was done or taken back), "rest"
// (the hand has been lifted).
export class Drawing extends EventTarget {
  #past = [];
  #future = [];
  #gesture = null;

  constructor(strokes) {
    super();
    this.strokes = strokes;
    this.width = 10;
    this.erasing = false;
  }

  // With what is being drawn or erased at this moment.
  get shown() {
    const gesture = this.#gesture;
    if (!gesture) return this.strokes;
    return gesture.erasing ? gesture.strokes : [...this.strokes, gesture.line];
  }

  get eraser() {
    return ERASER;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  // `force` is 1 for what cannot tell how hard it presses.
  begin(x, y, force = 1, erasing = this.erasing) {
    this.end();
    const smoother = new Smoother();
    const line = erasing ? [] : smoother.push([x, y, this.width * force]);
    this.#gesture = { erasing, smoother, line, strokes: this.strokes, at: [x, y] };
    this.#tell("start");
    if (erasing) this.extend(x, y);
    else this.#tell("ink", line);
  }

  extend(x, y, force = 1) {
    const gesture = this.#gesture;
    if (!gesture) return;
    if (gesture.erasing) {
      const left = erase(gesture.strokes, gesture.at, [x, y], ERASER);
      gesture.at = [x, y];
      if (left === gesture.strokes) return;
      gesture.strokes = left;
      this.#tell("ink", null);
    } else {
      this.#ink(gesture.smoother.push([x, y, this.width * force]));
    }
  }

  end() {
    const gesture = this.#gesture;
    if (!gesture) return;
    if (!gesture.erasing) this.#ink(gesture.smoother.finish());
    this.#gesture = null;
    if (gesture.erasing) {
      this.#step(gesture.strokes);
    } else {
      const parts = onSheet(simplify(gesture.line));
      if (parts.length) this.#step([...this.strokes, ...parts]);
      else this.#tell("ink", null);
    }
    this.#tell("rest");
  }

  // Takes back what a palm did.
  cancel() {
    if (!this.#gesture) return;
    this.#gesture = null;
    this.#tell("ink", null);
    this.#tell("rest");
  }

  clear() {
    this.cancel();
    this.#step([]);
  }

  undo() {
    this.end();
    this.#swap(this.#past, this.#future);
  }

  redo() {
    this.end();
    this.#swap(this.#future, this.#past);
  }

  #ink(fresh) {
    if (!fresh.length) return;
    const { line } = this.#gesture;
    const from = line.at(-1);
    line.push(...fresh);
    this.#tell("ink", [from, ...fresh]);
  }

  #step(strokes) {
    const [before, after] = [this.strokes, strokes];
    if (before === after || (!before.length && !after.length)) return;
    this.#past.push(before);
    if (this.#past.length > STEPS) this.#past.shift();
    this.#future = [];
    this.#show(after);
  }

  #swap(from, to) {
    if (!from.length) return;
    to.push(this.strokes);
    this.#show(from.pop());
  }

  #show(strokes) {
    this.strokes = strokes;
    this.#tell("ink", null);
    this.#tell("change");
  }

  #tell(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

// Strokes as the service takes them: what is seen, without widths. A dot is a very short line.
export function toRequest(strokes) {
  const tenth = (value) => Math.round(value * 10) / 10;
  const points = (stroke) => stroke.map(([x, y]) => [tenth(x), tenth(y)]);
  return {
    width: SIDE,
    height: SIDE,
    strokes: strokes.map((stroke) => {
      const [first] = stroke;
      const dot = [first, [first[0] > 1 ? first[0] - 1 : first[0] + 1, first[1]]];
      return { points: points(stroke.length > 1 ? stroke : dot) };
    }),
  };
}
