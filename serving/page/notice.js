// What the frame of the picture says while there is no new one, and what is said aloud.

import { word } from "./words.js";

const frame = document.getElementById("frame");
const notice = document.getElementById("notice");
const text = document.getElementById("notice-text");
const countdown = document.getElementById("countdown");
const said = document.getElementById("said");

let shown = { kind: null, until: 0 };
let ticking = 0;

// Shows a state by the name of its words ("ready" shows none); seconds until the next try, if any.
export function show(kind, seconds = null) {
  const news = kind !== shown.kind;
  shown = { kind, until: seconds === null ? 0 : Date.now() + 1000 * seconds };
  frame.dataset.state = kind;
  notice.hidden = kind === "ready";
  refresh();
  clearInterval(ticking);
  if (seconds !== null) ticking = setInterval(tick, 1000);
  // Painting is said by its end.
  if (news && kind !== "working") say(kind);
}

// After a change of language, too.
export function refresh() {
  if (!shown.kind) return;
  text.textContent = word(shown.kind);
  tick();
}

function tick() {
  const left = Math.ceil((shown.until - Date.now()) / 1000);
  countdown.textContent = left > 0 ? word("again", { seconds: left }) : "";
}

// Tells those who listen to the page.
export function say(name) {
  said.textContent = "";
  // The same words twice are said twice only when they were gone between.
  requestAnimationFrame(() => {
    said.textContent = word(name);
  });
}
