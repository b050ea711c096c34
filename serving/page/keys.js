// Drawing with the keyboard: arrow keys move a pen, the space bar puts it down and lifts it.

import { SIDE } from "./strokes.js";

const STEP = 10;
const LARGE_STEP = 50;
const DIRECTIONS = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};

// `announce(name)` is called with the name of a message for screen readers.
export function handleKeyboard(canvas, cursor, drawing, announce) {
  const pressedKeys = new Set();
  let position = [SIDE / 2, SIDE / 2];
  let isPenDown = false;

  function showCursor() {
    const side = canvas.clientWidth;
    const [x, y] = position.map((value) => (value / SIDE) * side);
    cursor.hidden = false;
    cursor.classList.toggle("down", isPenDown);
    cursor.style.transform = `translate(${x}px, ${y}px) translate(-50%, -50%)`;
  }

  function liftPen() {
    if (!isPenDown) return;
    drawing.end();
    announce("penUp");
  }

  // The stroke may also be ended by another input, such as undo.
  drawing.addEventListener("end", () => {
    isPenDown = false;
    cursor.classList.remove("down");
  });

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    canvas.classList.remove("pointed");
    if (event.key in DIRECTIONS) {
      event.preventDefault();
      pressedKeys.add(event.key);
      const step = event.shiftKey ? LARGE_STEP : STEP;
      for (const key of pressedKeys) {
        position = position.map((value, axis) => (
          Math.min(SIDE, Math.max(0, value + DIRECTIONS[key][axis] * step))
        ));
      }
      if (isPenDown) drawing.extend(...position);
      showCursor();
    } else if (event.key === " ") {
      event.preventDefault();
      if (event.repeat) return;
      if (isPenDown) {
        liftPen();
      } else {
        drawing.begin(...position);
        isPenDown = true;
        announce("penDown");
      }
      showCursor();
    } else if (event.key === "Escape") {
      liftPen();
      cursor.hidden = true;
    }
  });
  canvas.addEventListener("keyup", (event) => pressedKeys.delete(event.key));
  canvas.addEventListener("pointerdown", () => {
    isPenDown = false;
    cursor.hidden = true;
  });
  canvas.addEventListener("blur", () => {
    canvas.classList.remove("pointed");
    pressedKeys.clear();
    liftPen();
    cursor.hidden = true;
  });
}
