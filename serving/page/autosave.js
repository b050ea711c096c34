// What outlives a reload, in this browser alone: the drawing and choices until the tab is closed,
// the language for good. Without storage (some private windows) the page does without.

const DRAWING = "icanvas.drawing";
const MODEL = "icanvas.model";
const KEY = "icanvas.key";
const LANGUAGE = "icanvas.language";

export const keepStrokes = (strokes) => set(() => sessionStorage, DRAWING, JSON.stringify(
  strokes.map((stroke) => stroke.map((point) => point.map((value) => +value.toFixed(2)))),
));

export function keptStrokes() {
  try {
    const found = JSON.parse(get(() => sessionStorage, DRAWING) ?? "[]");
    const point = (it) => Array.isArray(it) && it.length === 3 && it.every(Number.isFinite);
    const stroke = (it) => Array.isArray(it) && it.length > 0 && it.every(point);
    return Array.isArray(found) && found.every(stroke) ? found : [];
  } catch {
    return [];
  }
}

export const keepModel = (name) => set(() => sessionStorage, MODEL, name);
export const keptModel = () => get(() => sessionStorage, MODEL);
export const keepKey = (key) => set(() => sessionStorage, KEY, key);
export const keptKey = () => get(() => sessionStorage, KEY);
export const keepLanguage = (language) => set(() => localStorage, LANGUAGE, language);
export const keptLanguage = () => get(() => localStorage, LANGUAGE);

function set(storage, key, value) {
  try {
    storage().setItem(key, value);
  } catch {
    // Full or forbidden.
  }
}

function get(storage, key) {
  try {
    return storage().getItem(key);
  } catch {
    return null;
  }
}
