// Stroke geometry. The sheet is SIDE units wide and high at any size on the screen. A point is
// [x, y, width] in these units; a stroke is a list of points, connected by straight segments.

export const SIDE = 1000;

// Closer points are skipped.
const MIN_POINT_DISTANCE = 2;
// Length of the segments of a curve.
const CURVE_STEP = 4;
const SIMPLIFY_TOLERANCE = 0.4;
// Shorter rests of an erased stroke are removed.
const MIN_STROKE_LENGTH = 6;

const lerp = (a, b, t) => a.map((value, axis) => value + (b[axis] - value) * t);
const pointDistance = (a, b) => Math.hypot(b[0] - a[0], b[1] - a[1]);

// Smooths input points to quadratic Bézier curves between the midpoints of the segments.
export class Smoother {
  #previous = null;
  #last = null;
  #curveEnd = null;

  // Adds an input point. Returns the new points of the curve, as `finish` does.
  push(point) {
    if (!this.#last) {
      this.#last = this.#curveEnd = point;
      return [point];
    }
    if (pointDistance(this.#last, point) < MIN_POINT_DISTANCE) return [];
    const from = this.#curveEnd;
    const control = this.#last;
    const to = lerp(control, point, 0.5);
    const length = pointDistance(from, control) + pointDistance(control, to);
    const steps = Math.max(1, Math.ceil(length / CURVE_STEP));
    const curve = [];
    for (let step = 1; step <= steps; step += 1) {
      const t = step / steps;
      curve.push(lerp(lerp(from, control, t), lerp(control, to, t), t));
    }
    [this.#previous, this.#last, this.#curveEnd] = [control, point, to];
    return curve;
  }

  finish() {
    return this.#previous ? [this.#last] : [];
  }
}

// Removes points whose position and width the others approximate (Ramer–Douglas–Peucker).
export function simplify(points) {
  const isKept = new Uint8Array(points.length);
  isKept[0] = isKept[points.length - 1] = 1;
  const spans = [[0, points.length - 1]];
  while (spans.length) {
    const [first, last] = spans.pop();
    let [worst, maxDeviation] = [0, SIMPLIFY_TOLERANCE];
    for (let index = first + 1; index < last; index += 1) {
      const deviation = segmentDeviation(points[index], points[first], points[last]);
      if (deviation > maxDeviation) [worst, maxDeviation] = [index, deviation];
    }
    if (worst) {
      isKept[worst] = 1;
      spans.push([first, worst], [worst, last]);
    }
  }
  return points.filter((_, index) => isKept[index]);
}

// Distance of a point from a segment, or half its difference in width if that is larger.
function segmentDeviation(point, from, to) {
  const [vx, vy] = [to[0] - from[0], to[1] - from[1]];
  const squaredLength = vx * vx + vy * vy;
  const t = squaredLength
    && ((point[0] - from[0]) * vx + (point[1] - from[1]) * vy) / squaredLength;
  const nearest = lerp(from, to, Math.min(1, Math.max(0, t)));
  return Math.max(pointDistance(point, nearest), Math.abs(point[2] - nearest[2]) / 2);
}

// Returns the parts of a stroke that are on the sheet.
export function clipToSheet(stroke) {
  const isOnSheet = ([x, y]) => x >= 0 && x <= SIDE && y >= 0 && y <= SIDE;
  if (stroke.length === 1) return isOnSheet(stroke[0]) ? [stroke] : [];
  return splitStroke(stroke, (a, b) => {
    const span = getSheetSpan(a, b);
    return span ? [[0, span[0]], [span[1], 1]] : [[0, 1]];
  });
}

// Returns the strokes without what an eraser covers that moves along a segment; the same list if it
// covers nothing.
export function erase(strokes, from, to, radius) {
  let changed = false;
  const remaining = strokes.flatMap((stroke) => {
    if (!isNearBox(getBoundingBox(stroke), from, to, radius)) return [stroke];
    const parts = eraseFromStroke(stroke, from, to, radius);
    changed ||= parts.length !== 1 || parts[0] !== stroke;
    return parts;
  });
  return changed ? remaining : strokes;
}

function eraseFromStroke(stroke, from, to, radius) {
  if (stroke.length === 1) {
    const [point] = stroke;
    return getCoveredSpan(point, point, from, to, radius + point[2] / 2) ? [] : [stroke];
  }
  // Half the width is added, because the remaining ends are painted round.
  const parts = splitStroke(stroke, (a, b) => {
    const span = getCoveredSpan(a, b, from, to, radius + Math.max(a[2], b[2]) / 2);
    return span ? [span] : [];
  });
  if (parts.length === 1 && parts[0].length === stroke.length && parts[0][0] === stroke[0]
    && parts[0].at(-1) === stroke.at(-1)) return [stroke];
  return parts.filter((part) => getStrokeLength(part) > MIN_STROKE_LENGTH);
}

// Returns the parts of a stroke that remain when `getRemovedSpans(a, b)` names the spans [t0, t1]
// to remove between two points, in order.
function splitStroke(stroke, getRemovedSpans) {
  const parts = [];
  let part = [stroke[0]];
  const closePart = () => {
    if (part.length > 1) parts.push(part);
  };
  for (let index = 1; index < stroke.length; index += 1) {
    const [a, b] = [stroke[index - 1], stroke[index]];
    let t = 0;
    for (const [start, end] of getRemovedSpans(a, b)) {
      if (end <= start) continue;
      if (start > t) part.push(lerp(a, b, start));
      closePart();
      part = end < 1 ? [lerp(a, b, end)] : [];
      t = end;
    }
    if (t < 1) part.push(b);
    else part = [b];
  }
  closePart();
  return parts;
}

// Returns the span of the segment a-b that is within the sheet (Liang–Barsky), or null.
function getSheetSpan(a, b) {
  const span = [0, 1];
  for (const axis of [0, 1]) {
    if (!clipSpan(span, a[axis], b[axis] - a[axis], 0, SIDE)) return null;
  }
  return span;
}

// Returns the span of the segment a-b that is within a radius of the segment c-d, or null. That
// region is convex, so the span is the union of those in its two discs and its rectangle.
function getCoveredSpan(a, b, c, d, radius) {
  let [low, high] = [Infinity, -Infinity];
  const add = ([start, end]) => {
    if (start > end) return;
    low = Math.min(low, start);
    high = Math.max(high, end);
  };
  add(getDiscSpan(a, b, c, radius));
  add(getDiscSpan(a, b, d, radius));
  const length = pointDistance(c, d);
  if (length) {
    const [ux, uy] = [(d[0] - c[0]) / length, (d[1] - c[1]) / length];
    const [mx, my, vx, vy] = [a[0] - c[0], a[1] - c[1], b[0] - a[0], b[1] - a[1]];
    const span = [0, 1];
    if (clipSpan(span, mx * ux + my * uy, vx * ux + vy * uy, 0, length)
      && clipSpan(span, my * ux - mx * uy, vy * ux - vx * uy, -radius, radius)) add(span);
  }
  return low <= high ? [low, high] : null;
}

// Returns the span of the segment a-b that is within a disc; [1, 0] if it is empty.
function getDiscSpan(a, b, center, radius) {
  const [vx, vy, mx, my] = [b[0] - a[0], b[1] - a[1], a[0] - center[0], a[1] - center[1]];
  const squaredLength = vx * vx + vy * vy;
  const offset = mx * mx + my * my - radius * radius;
  if (!squaredLength) return offset <= 0 ? [0, 1] : [1, 0];
  const half = mx * vx + my * vy;
  const discriminant = half * half - squaredLength * offset;
  if (discriminant < 0) return [1, 0];
  const root = Math.sqrt(discriminant);
  return [Math.max(0, (-half - root) / squaredLength), Math.min(1, (-half + root) / squaredLength)];
}

// Clips a span of t in place to min <= start + t * slope <= max. Returns false if it is empty.
function clipSpan(span, start, slope, min, max) {
  if (slope === 0) return start >= min && start <= max;
  const [t0, t1] = [(min - start) / slope, (max - start) / slope];
  span[0] = Math.max(span[0], Math.min(t0, t1));
  span[1] = Math.min(span[1], Math.max(t0, t1));
  return span[0] <= span[1];
}

function getStrokeLength(stroke) {
  let sum = 0;
  for (let index = 1; index < stroke.length; index += 1) {
    sum += pointDistance(stroke[index - 1], stroke[index]);
  }
  return sum;
}

// Strokes are immutable, so their bounding boxes are cached.
const boundingBoxes = new WeakMap();

function getBoundingBox(stroke) {
  let box = boundingBoxes.get(stroke);
  if (!box) {
    box = [Infinity, Infinity, -Infinity, -Infinity];
    for (const [x, y, width] of stroke) {
      box[0] = Math.min(box[0], x - width / 2);
      box[1] = Math.min(box[1], y - width / 2);
      box[2] = Math.max(box[2], x + width / 2);
      box[3] = Math.max(box[3], y + width / 2);
    }
    boundingBoxes.set(stroke, box);
  }
  return box;
}

function isNearBox([left, top, right, bottom], from, to, radius) {
  return Math.max(from[0], to[0]) + radius >= left && Math.min(from[0], to[0]) - radius <= right
    && Math.max(from[1], to[1]) + radius >= top && Math.min(from[1], to[1]) - radius <= bottom;
}
