// Drawing by keyboard: arrows move a pen, space puts it down and lifts it.

import { SIDE } from "./strokes.js";

const STEP = 10;
const LEAP = 50;
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// `say(word)` tells what happened.
export function followKeys(canvas, marker, drawing, say) {
  const held = new Set();
  let at = [SIDE / 2, SIDE / 2];
  let drawingHere = false;

  function show() {
    const side = canvas.clientWidth;
    const [x, y] = at.map((value) => (value / SIDE) * side);
    marker.hidden = false;
    marker.classList.toggle("down", drawingHere);
    marker.style.transform = `translate(${x}px, ${y}px) translate(-50%, -50%)`;
  }

  function lift() {
    if (!drawingHere) return;
    drawing.end();
    say("penUp");
  }

  // Also when it was lifted by another key: one that undoes.
  drawing.addEventListener("rest", () => {
    drawingHere = false;
    marker.classList.remove("down");
  });

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    canvas.classList.remove("pointed");
    if (event.key in WAYS) {
      event.preventDefault();
      held.add(event.key);
      const by = event.shiftKey ? LEAP : STEP;
      for (const key of held) {
        at = at.map((value, axis) => Math.min(SIDE, Math.max(0, value + WAYS[key][axis] * by)));
      }
      if (drawingHere) drawing.extend(...at);
      show();
    } else if (event.key === " ") {
      event.preventDefault();
      if (event.repeat) return;
      if (drawingHere) {
        lift();
      } else {
        drawing.begin(...at);
        drawingHere = true;
        say("penDown");
      }
      show();
    } else if (event.key === "Escape") {
      lift();
      marker.hidden = true;
    }
  });
  canvas.addEventListener("keyup", (event) => held.delete(event.key));
  canvas.addEventListener("pointerdown", () => {
    drawingHere = false;
    marker.hidden = true;
  });
  canvas.addEventListener("blur", () => {
    canvas.classList.remove("pointed");
    held.clear();
    lift();
    marker.hidden = true;
  });
}
