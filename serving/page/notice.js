// The state in the picture's frame, and announcements for screen readers.

import { getMessage } from "./i18n.js";

const frame = document.getElementById("frame");
const notice = document.getElementById("notice");
const text = document.getElementById("notice-text");
const countdown = document.getElementById("countdown");
const announcement = document.getElementById("announcement");

let current = { state: null, retryAt: 0 };
let timer = 0;

// Shows a state, named like its message ("ready" shows none), and counts down `retryAfter` seconds.
export function showState(state, retryAfter = null) {
  const changed = state !== current.state;
  current = { state, retryAt: retryAfter === null ? 0 : Date.now() + 1000 * retryAfter };
  frame.dataset.state = state;
  notice.hidden = state === "ready";
  updateText();
  clearInterval(timer);
  if (retryAfter !== null) timer = setInterval(updateCountdown, 1000);
  // "working" is not announced, because the result follows.
  if (changed && state !== "working") announce(state);
}

// Also called when the language changes.
export function updateText() {
  if (!current.state) return;
  text.textContent = getMessage(current.state);
  updateCountdown();
}

function updateCountdown() {
  const seconds = Math.ceil((current.retryAt - Date.now()) / 1000);
  countdown.textContent = seconds > 0 ? getMessage("retryIn", { seconds }) : "";
}

// Announces a message to screen readers.
export function announce(name) {
  announcement.textContent = "";
  // Cleared for a frame, because the same text twice would be announced once.
  requestAnimationFrame(() => {
    announcement.textContent = getMessage(name);
  });
}
