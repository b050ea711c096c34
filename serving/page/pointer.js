// Mouse, fingers and pens on the sheet.

import { SIDE } from "./strokes.js";

// Milliseconds after a pen was near in which a touch is a palm; pixels that a resting hand moves.
const PALM = 1000;
const RESTING = 8;
const ERASER_END = 32;

export function followPointers(canvas, ring, drawing) {
  // The pointer that draws: its id, kind and where it came down; null when none does.
  let hand = null;
  let penSeen = -Infinity;

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * SIDE,
      ((event.clientY - box.top) / box.height) * SIDE,
    ];
  }

  // Half pressed is the width that was chosen.
  const force = (event) => (event.pointerType === "pen" && event.pressure
    ? 0.4 + 1.2 * event.pressure : 1);

  function showRing(event) {
    const shown = event.pointerType !== "touch" || hand?.id === event.pointerId;
    ring.hidden = !shown || !(drawing.erasing || (event.buttons & ERASER_END));
    if (ring.hidden) return;
    const side = canvas.clientWidth;
    const [x, y] = place(event).map((value) => (value / SIDE) * side);
    ring.style.width = ring.style.height = `${((2 * drawing.eraser) / SIDE) * side}px`;
    ring.style.transform = `translate(${x}px, ${y}px) translate(-50%, -50%)`;
  }

  function down(event) {
    const kind = event.pointerType;
    if (kind === "pen") penSeen = event.timeStamp;
    if (kind === "mouse" && event.button !== 0) return;
    if (kind === "touch" && event.timeStamp - penSeen < PALM) return;
    if (hand) {
      // A pen goes before a finger; a finger that draws before a hand that rests.
      const resting = hand.kind === "touch" && kind === "touch" && !hand.moved;
      if (!resting && !(kind === "pen" && hand.kind !== "pen")) return;
      drawing.cancel();
    }
    event.preventDefault();
    // So that arrows go on from here; only a keyboard needs to see where it is.
    canvas.classList.add("pointed");
    canvas.focus({ preventScroll: true });
    hand = { id: event.pointerId, kind, at: [event.clientX, event.clientY], moved: false };
    canvas.setPointerCapture(event.pointerId);
    const erasing = drawing.erasing || Boolean(event.buttons & ERASER_END);
    drawing.begin(...place(event), force(event), erasing);
    showRing(event);
  }

  function move(event) {
    if (event.pointerType === "pen") penSeen = event.timeStamp;
    showRing(event);
    if (hand?.id !== event.pointerId) return;
    event.preventDefault();
    const [x, y] = hand.at;
    hand.moved ||= Math.hypot(event.clientX - x, event.clientY - y) > RESTING;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const each of all.length ? all : [event]) drawing.extend(...place(each), force(each));
  }

  function up(event) {
    if (hand?.id !== event.pointerId) return;
    hand = null;
    ring.hidden = event.pointerType === "touch" || ring.hidden;
    drawing.end();
  }

  // The browser takes a touch away when it finds that it is a palm.
  function cancel(event) {
    if (hand?.id !== event.pointerId) return;
    hand = null;
    ring.hidden = true;
    if (event.pointerType === "touch") drawing.cancel();
    else drawing.end();
  }

  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", cancel);
  canvas.addEventListener("lostpointercapture", up);
  canvas.addEventListener("pointerleave", () => {
    if (!hand) ring.hidden = true;
  });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  // Safari scrolls and selects in spite of touch-action.
  canvas.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
}
