// Strokes as pixels: the sheet on the screen, and pictures of it to send or to keep.

import { SIDE } from "./strokes.js";

const INK = "#1f2d3a";

// Paints a line onto a context whose unit is the sheet's.
export function paint(context, stroke) {
  context.strokeStyle = context.fillStyle = INK;
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
    // One path for as long as the width stays.
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

// Paints strokes into a square of a context.
export function paintAll(context, strokes, left, top, side) {
  context.save();
  context.translate(left, top);
  context.beginPath();
  context.rect(0, 0, side, side);
  context.clip();
  context.scale(side / SIDE, side / SIDE);
  for (const stroke of strokes) paint(context, stroke);
  context.restore();
}

// A drawing as a PNG on white.
export function toPng(strokes, side) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, side, side);
  paintAll(context, strokes, 0, 0, side);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// Keeps a canvas element showing a drawing, sharp at any size and on any screen.
export function showDrawing(canvas, drawing) {
  const context = canvas.getContext("2d");
  let waiting = 0;

  function repaint() {
    waiting = 0;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    paintAll(context, drawing.shown, 0, 0, canvas.width);
  }

  function fit() {
    const side = Math.round(canvas.clientWidth * window.devicePixelRatio);
    if (!side || side === canvas.width) return;
    canvas.width = canvas.height = side;
    repaint();
  }

  drawing.addEventListener("ink", ({ detail }) => {
    if (detail && !waiting) {
      // Only what is new: a long line stays quick on a slow tablet.
      context.setTransform(canvas.width / SIDE, 0, 0, canvas.width / SIDE, 0, 0);
      paint(context, detail);
    } else {
      waiting ||= requestAnimationFrame(repaint);
    }
  });
  new ResizeObserver(fit).observe(canvas);
  // A window that moves to another screen, or zooms.
  window.addEventListener("resize", fit);
  fit();
}
