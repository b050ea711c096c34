// Strokes as geometry. A sheet is SIDE units wide and high, however large it is shown; a point is
// [x, y, width] in these units, a stroke a list of points with straight lines between them.

export const SIDE = 1000;

// Units: points that are nearer than this add nothing, and curves are drawn in steps of this.
const NEAR = 2;
const STEP = 4;
// What may be left out when a stroke is done, and what is too short to stay beside an eraser.
const UNSEEN = 0.4;
const CRUMB = 6;

const mix = (a, b, t) => a.map((value, axis) => value + (b[axis] - value) * t);
const length = (a, b) => Math.hypot(b[0] - a[0], b[1] - a[1]);

// Turns the points of a hand into a smooth line: curves from middle to middle of what it gives.
export class Smoother {
  #before = null;
  #last = null;
  #end = null;

  // Each returns the points that are new in the line.
  push(point) {
    if (!this.#last) {
      this.#last = this.#end = point;
      return [point];
    }
    if (length(this.#last, point) < NEAR) return [];
    const from = this.#end;
    const corner = this.#last;
    const to = mix(corner, point, 0.5);
    const steps = Math.max(1, Math.ceil((length(from, corner) + length(corner, to)) / STEP));
    const line = [];
    for (let step = 1; step <= steps; step += 1) {
      const t = step / steps;
      line.push(mix(mix(from, corner, t), mix(corner, to, t), t));
    }
    [this.#before, this.#last, this.#end] = [corner, point, to];
    return line;
  }

  finish() {
    return this.#before ? [this.#last] : [];
  }
}

// Leaves out points whose place and width the others tell (Ramer, Douglas and Peucker).
export function simplify(points) {
  const kept = new Uint8Array(points.length);
  kept[0] = kept[points.length - 1] = 1;
  const spans = [[0, points.length - 1]];
  while (spans.length) {
    const [first, last] = spans.pop();
    let [worst, most] = [0, UNSEEN];
    for (let index = first + 1; index < last; index += 1) {
      const off = distance(points[index], points[first], points[last]);
      if (off > most) [worst, most] = [index, off];
    }
    if (worst) {
      kept[worst] = 1;
      spans.push([first, worst], [worst, last]);
    }
  }
  return points.filter((_, index) => kept[index]);
}

function distance(point, from, to) {
  const [vx, vy] = [to[0] - from[0], to[1] - from[1]];
  const square = vx * vx + vy * vy;
  const along = square && ((point[0] - from[0]) * vx + (point[1] - from[1]) * vy) / square;
  const near = mix(from, to, Math.min(1, Math.max(0, along)));
  return Math.max(length(point, near), Math.abs(point[2] - near[2]) / 2);
}

// The pieces of a stroke that lie on the sheet.
export function onSheet(stroke) {
  const on = ([x, y]) => x >= 0 && x <= SIDE && y >= 0 && y <= SIDE;
  if (stroke.length === 1) return on(stroke[0]) ? [stroke] : [];
  return pieces(stroke, (a, b) => {
    const span = clip(a, b);
    return span ? [[0, span[0]], [span[1], 1]] : [[0, 1]];
  });
}

// Strokes without what an eraser covers on its way; the same list where it touches nothing.
export function erase(strokes, from, to, radius) {
  let touched = false;
  const left = strokes.flatMap((stroke) => {
    if (!nearBox(box(stroke), from, to, radius)) return [stroke];
    const parts = without(stroke, from, to, radius);
    touched ||= parts.length !== 1 || parts[0] !== stroke;
    return parts;
  });
  return touched ? left : strokes;
}

function without(stroke, from, to, radius) {
  if (stroke.length === 1) {
    const [point] = stroke;
    return covered(point, point, from, to, radius + point[2] / 2) ? [] : [stroke];
  }
  // Lines have round ends: cut further off by their half, these touch what was erased.
  const parts = pieces(stroke, (a, b) => {
    const span = covered(a, b, from, to, radius + Math.max(a[2], b[2]) / 2);
    return span ? [span] : [];
  });
  if (parts.length === 1 && parts[0].length === stroke.length && parts[0][0] === stroke[0]
    && parts[0].at(-1) === stroke.at(-1)) return [stroke];
  return parts.filter((part) => extent(part) > CRUMB);
}

// What stays of a stroke when `gone` names the spans [t0, t1] to drop between two points, in order.
function pieces(stroke, gone) {
  const parts = [];
  let part = [stroke[0]];
  const close = () => {
    if (part.length > 1) parts.push(part);
  };
  for (let index = 1; index < stroke.length; index += 1) {
    const [a, b] = [stroke[index - 1], stroke[index]];
    let at = 0;
    for (const [start, end] of gone(a, b)) {
      if (end <= start) continue;
      if (start > at) part.push(mix(a, b, start));
      close();
      part = end < 1 ? [mix(a, b, end)] : [];
      at = end;
    }
    if (at < 1) part.push(b);
    else part = [b];
  }
  close();
  return parts;
}

// The span of the line a-b that is within the sheet (Liang and Barsky), or null.
function clip(a, b) {
  const span = [0, 1];
  for (const axis of [0, 1]) {
    if (!narrow(span, a[axis], b[axis] - a[axis], 0, SIDE)) return null;
  }
  return span;
}

// The span of the line a-b that is within a distance of the line c-d, or null. A line meets a
// convex shape in one span, so it goes from the first to the last of those of its parts.
function covered(a, b, c, d, radius) {
  let [low, high] = [Infinity, -Infinity];
  const add = ([start, end]) => {
    if (start > end) return;
    low = Math.min(low, start);
    high = Math.max(high, end);
  };
  add(inDisc(a, b, c, radius));
  add(inDisc(a, b, d, radius));
  const long = length(c, d);
  if (long) {
    const [ux, uy] = [(d[0] - c[0]) / long, (d[1] - c[1]) / long];
    const [mx, my, vx, vy] = [a[0] - c[0], a[1] - c[1], b[0] - a[0], b[1] - a[1]];
    const span = [0, 1];
    if (narrow(span, mx * ux + my * uy, vx * ux + vy * uy, 0, long)
      && narrow(span, my * ux - mx * uy, vy * ux - vx * uy, -radius, radius)) add(span);
  }
  return low <= high ? [low, high] : null;
}

function inDisc(a, b, centre, radius) {
  const [vx, vy, mx, my] = [b[0] - a[0], b[1] - a[1], a[0] - centre[0], a[1] - centre[1]];
  const square = vx * vx + vy * vy;
  const rest = mx * mx + my * my - radius * radius;
  if (!square) return rest <= 0 ? [0, 1] : [1, 0];
  const half = mx * vx + my * vy;
  const root = half * half - square * rest;
  if (root < 0) return [1, 0];
  const wide = Math.sqrt(root);
  return [Math.max(0, (-half - wide) / square), Math.min(1, (-half + wide) / square)];
}

// Narrows a span of t to where least <= at + t * by <= most; false where that is nowhere.
function narrow(span, at, by, least, most) {
  if (by === 0) return at >= least && at <= most;
  const [one, other] = [(least - at) / by, (most - at) / by];
  span[0] = Math.max(span[0], Math.min(one, other));
  span[1] = Math.min(span[1], Math.max(one, other));
  return span[0] <= span[1];
}

function extent(stroke) {
  let sum = 0;
  for (let index = 1; index < stroke.length; index += 1) {
    sum += length(stroke[index - 1], stroke[index]);
  }
  return sum;
}

// Strokes never change, so what surrounds one is reckoned once.
const boxes = new WeakMap();

function box(stroke) {
  let found = boxes.get(stroke);
  if (!found) {
    found = [Infinity, Infinity, -Infinity, -Infinity];
    for (const [x, y, width] of stroke) {
      found[0] = Math.min(found[0], x - width / 2);
      found[1] = Math.min(found[1], y - width / 2);
      found[2] = Math.max(found[2], x + width / 2);
      found[3] = Math.max(found[3], y + width / 2);
    }
    boxes.set(stroke, found);
  }
  return found;
}

function nearBox([left, top, right, bottom], from, to, radius) {
  return Math.max(from[0], to[0]) + radius >= left && Math.min(from[0], to[0]) - radius <= right
    && Math.max(from[1], to[1]) + radius >= top && Math.min(from[1], to[1]) - radius <= bottom;
}
