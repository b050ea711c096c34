// The drawing's state with undo and redo. Every step is a list of strokes; strokes are immutable
// and shared between steps.

import { SIDE, Smoother, clipToSheet, erase, simplify } from "./strokes.js";

const MAX_UNDO_STEPS = 200;
const ERASER_RADIUS = 32;

// Events: "start" (a stroke begins), "ink" (new ink; detail: the new points of the stroke, or null
// if everything must be repainted), "change" (a step was done or undone), "end" (the stroke ended).
export class Drawing extends EventTarget {
  #undoSteps = [];
  #redoSteps = [];
  #gesture = null;

  constructor(strokes) {
    super();
    this.strokes = strokes;
    this.width = 10;
    this.erasing = false;
  }

  // The strokes with the unfinished gesture.
  get visibleStrokes() {
    const gesture = this.#gesture;
    if (!gesture) return this.strokes;
    return gesture.erasing ? gesture.strokes : [...this.strokes, gesture.line];
  }

  get eraserRadius() {
    return ERASER_RADIUS;
  }

  get canUndo() {
    return this.#undoSteps.length > 0;
  }

  get canRedo() {
    return this.#redoSteps.length > 0;
  }

  // `pressure` scales the width; 1 for devices that do not measure it.
  begin(x, y, pressure = 1, erasing = this.erasing) {
    this.end();
    const smoother = new Smoother();
    const line = erasing ? [] : smoother.push([x, y, this.width * pressure]);
    this.#gesture = { erasing, smoother, line, strokes: this.strokes, position: [x, y] };
    this.#emit("start");
    if (erasing) this.extend(x, y);
    else this.#emit("ink", line);
  }

  extend(x, y, pressure = 1) {
    const gesture = this.#gesture;
    if (!gesture) return;
    if (gesture.erasing) {
      const remaining = erase(gesture.strokes, gesture.position, [x, y], ERASER_RADIUS);
      gesture.position = [x, y];
      if (remaining === gesture.strokes) return;
      gesture.strokes = remaining;
      this.#emit("ink", null);
    } else {
      this.#appendPoints(gesture.smoother.push([x, y, this.width * pressure]));
    }
  }

  end() {
    const gesture = this.#gesture;
    if (!gesture) return;
    if (!gesture.erasing) this.#appendPoints(gesture.smoother.finish());
    this.#gesture = null;
    if (gesture.erasing) {
      this.#commit(gesture.strokes);
    } else {
      const parts = clipToSheet(simplify(gesture.line));
      if (parts.length) this.#commit([...this.strokes, ...parts]);
      else this.#emit("ink", null);
    }
    this.#emit("end");
  }

  // Discards the unfinished gesture, for example of a palm.
  cancel() {
    if (!this.#gesture) return;
    this.#gesture = null;
    this.#emit("ink", null);
    this.#emit("end");
  }

  clear() {
    this.cancel();
    this.#commit([]);
  }

  undo() {
    this.end();
    this.#moveStep(this.#undoSteps, this.#redoSteps);
  }

  redo() {
    this.end();
    this.#moveStep(this.#redoSteps, this.#undoSteps);
  }

  #appendPoints(points) {
    if (!points.length) return;
    const { line } = this.#gesture;
    const last = line.at(-1);
    line.push(...points);
    this.#emit("ink", [last, ...points]);
  }

  #commit(strokes) {
    const previous = this.strokes;
    if (previous === strokes || (!previous.length && !strokes.length)) return;
    this.#undoSteps.push(previous);
    if (this.#undoSteps.length > MAX_UNDO_STEPS) this.#undoSteps.shift();
    this.#redoSteps = [];
    this.#setStrokes(strokes);
  }

  #moveStep(from, to) {
    if (!from.length) return;
    to.push(this.strokes);
    this.#setStrokes(from.pop());
  }

  #setStrokes(strokes) {
    this.strokes = strokes;
    this.#emit("ink", null);
    this.#emit("change");
  }

  #emit(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

// Converts strokes to the API's format: visible parts, without widths. A dot becomes a short line.
export function toRequestBody(strokes) {
  const roundToTenth = (value) => Math.round(value * 10) / 10;
  const toPoints = (stroke) => stroke.map(([x, y]) => [roundToTenth(x), roundToTenth(y)]);
  return {
    width: SIDE,
    height: SIDE,
    strokes: strokes.map((stroke) => {
      const [first] = stroke;
      const dot = [first, [first[0] > 1 ? first[0] - 1 : first[0] + 1, first[1]]];
      return { points: toPoints(stroke.length > 1 ? stroke : dot) };
    }),
  };
}
