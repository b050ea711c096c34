// Drawing with mouse, touch and pen.

import { SIDE } from "./strokes.js";

// Touches are palms for so long after a pen was near.
const PALM_REJECTION_MS = 1000;
// A touch that moved less than this is resting.
const MAX_RESTING_MOVE_PX = 8;
// Bit of `PointerEvent.buttons` for a pen's eraser end.
const ERASER_BUTTON = 32;

export function handlePointers(canvas, eraserCursor, drawing) {
  // The pointer that draws: { id, type, start, moved }; null if none does.
  let activePointer = null;
  let lastPenTime = -Infinity;

  function toSheet(event) {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * SIDE,
      ((event.clientY - box.top) / box.height) * SIDE,
    ];
  }

  // Factor of the chosen width: 1 at half pressure.
  const getPressure = (event) => (event.pointerType === "pen" && event.pressure
    ? 0.4 + 1.2 * event.pressure : 1);

  function updateEraserCursor(event) {
    const hasCursor = event.pointerType !== "touch" || activePointer?.id === event.pointerId;
    eraserCursor.hidden = !hasCursor || !(drawing.erasing || (event.buttons & ERASER_BUTTON));
    if (eraserCursor.hidden) return;
    const side = canvas.clientWidth;
    const [x, y] = toSheet(event).map((value) => (value / SIDE) * side);
    const diameter = ((2 * drawing.eraserRadius) / SIDE) * side;
    eraserCursor.style.width = eraserCursor.style.height = `${diameter}px`;
    eraserCursor.style.transform = `translate(${x}px, ${y}px) translate(-50%, -50%)`;
  }

  function onPointerDown(event) {
    const type = event.pointerType;
    if (type === "pen") lastPenTime = event.timeStamp;
    if (type === "mouse" && event.button !== 0) return;
    if (type === "touch" && event.timeStamp - lastPenTime < PALM_REJECTION_MS) return;
    if (activePointer) {
      // A pen takes precedence over a touch, and a new touch over one that rests.
      const isResting = activePointer.type === "touch" && type === "touch" && !activePointer.moved;
      if (!isResting && !(type === "pen" && activePointer.type !== "pen")) return;
      drawing.cancel();
    }
    event.preventDefault();
    // With the focus here, arrow keys work. The focus ring is for keyboard users only.
    canvas.classList.add("pointed");
    canvas.focus({ preventScroll: true });
    activePointer = {
      id: event.pointerId, type, start: [event.clientX, event.clientY], moved: false,
    };
    canvas.setPointerCapture(event.pointerId);
    const erasing = drawing.erasing || Boolean(event.buttons & ERASER_BUTTON);
    drawing.begin(...toSheet(event), getPressure(event), erasing);
    updateEraserCursor(event);
  }

  function onPointerMove(event) {
    if (event.pointerType === "pen") lastPenTime = event.timeStamp;
    updateEraserCursor(event);
    if (activePointer?.id !== event.pointerId) return;
    event.preventDefault();
    const [x, y] = activePointer.start;
    const distance = Math.hypot(event.clientX - x, event.clientY - y);
    activePointer.moved ||= distance > MAX_RESTING_MOVE_PX;
    const coalesced = event.getCoalescedEvents?.() ?? [];
    for (const each of coalesced.length ? coalesced : [event]) {
      drawing.extend(...toSheet(each), getPressure(each));
    }
  }

  function onPointerUp(event) {
    if (activePointer?.id !== event.pointerId) return;
    activePointer = null;
    eraserCursor.hidden = event.pointerType === "touch" || eraserCursor.hidden;
    drawing.end();
  }

  // The browser cancels touches that it detects as palms.
  function onPointerCancel(event) {
    if (activePointer?.id !== event.pointerId) return;
    activePointer = null;
    eraserCursor.hidden = true;
    if (event.pointerType === "touch") drawing.cancel();
    else drawing.end();
  }

  canvas.addEventListener("pointerdown", onPointerDown);
  canvas.addEventListener("pointermove", onPointerMove);
  canvas.addEventListener("pointerup", onPointerUp);
  canvas.addEventListener("pointercancel", onPointerCancel);
  canvas.addEventListener("lostpointercapture", onPointerUp);
  canvas.addEventListener("pointerleave", () => {
    if (!activePointer) eraserCursor.hidden = true;
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  // Safari scrolls and selects despite `touch-action: none`.
  canvas.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
}
