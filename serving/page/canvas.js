// Rendering of strokes to pixels: the sheet on the screen, and PNG files.

import { SIDE } from "./strokes.js";

const INK_COLOR = "#1f2d3a";

// Paints a stroke onto a context with the sheet's coordinates.
export function paintStroke(context, stroke) {
  context.strokeStyle = context.fillStyle = INK_COLOR;
  context.lineCap = context.lineJoin = "round";
  if (stroke.length === 1) {
    const [[x, y, width]] = stroke;
    context.beginPath();
    context.arc(x, y, width / 2, 0, 2 * Math.PI);
    context.fill();
    return;
  }
  let index = 1;
  while (index < stroke.length) {
    // One path for each run of segments with the same width.
    const width = (stroke[index - 1][2] + stroke[index][2]) / 2;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(stroke[index - 1][0], stroke[index - 1][1]);
    do {
      context.lineTo(stroke[index][0], stroke[index][1]);
      index += 1;
    } while (index < stroke.length
      && Math.abs((stroke[index - 1][2] + stroke[index][2]) / 2 - width) < 0.1);
    context.stroke();
  }
}

// Paints strokes into a square of a context, given in pixels.
export function paintStrokes(context, strokes, left, top, side) {
  context.save();
  context.translate(left, top);
  context.beginPath();
  context.rect(0, 0, side, side);
  context.clip();
  context.scale(side / SIDE, side / SIDE);
  for (const stroke of strokes) paintStroke(context, stroke);
  context.restore();
}

// Renders strokes on white to a PNG blob.
export function renderPng(strokes, side) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, side, side);
  paintStrokes(context, strokes, 0, 0, side);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// Renders a drawing to a canvas element, and updates it on every change of the drawing, the size
// and the screen's resolution.
export function attachCanvas(canvas, drawing) {
  const context = canvas.getContext("2d");
  let frameRequest = 0;

  function repaint() {
    frameRequest = 0;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    paintStrokes(context, drawing.visibleStrokes, 0, 0, canvas.width);
  }

  function resize() {
    const side = Math.round(canvas.clientWidth * window.devicePixelRatio);
    if (!side || side === canvas.width) return;
    canvas.width = canvas.height = side;
    repaint();
  }

  drawing.addEventListener("ink", ({ detail }) => {
    if (detail && !frameRequest) {
      // Paints the new points only, so that long strokes stay fast on slow tablets.
      context.setTransform(canvas.width / SIDE, 0, 0, canvas.width / SIDE, 0, 0);
      paintStroke(context, detail);
    } else {
      frameRequest ||= requestAnimationFrame(repaint);
    }
  });
  new ResizeObserver(resize).observe(canvas);
  // Zooming, or moving the window to another screen, changes the resolution only.
  window.addEventListener("resize", resize);
  resize();
}
