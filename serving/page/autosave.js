// What survives a reload, in this browser only: the drawing, model and key until the tab is closed,
// the language permanently. Without storage (in some private windows) nothing is saved.

const DRAWING = "icanvas.drawing";
const MODEL = "icanvas.model";
const KEY = "icanvas.key";
const LANGUAGE = "icanvas.language";

export const saveStrokes = (strokes) => writeItem(() => sessionStorage, DRAWING, JSON.stringify(
  strokes.map((stroke) => stroke.map((point) => point.map((value) => +value.toFixed(2)))),
));

export function loadStrokes() {
  try {
    const strokes = JSON.parse(readItem(() => sessionStorage, DRAWING) ?? "[]");
    const isPoint = (it) => Array.isArray(it) && it.length === 3 && it.every(Number.isFinite);
    const isStroke = (it) => Array.isArray(it) && it.length > 0 && it.every(isPoint);
    return Array.isArray(strokes) && strokes.every(isStroke) ? strokes : [];
  } catch {
    return [];
  }
}

export const saveModel = (name) => writeItem(() => sessionStorage, MODEL, name);
export const loadModel = () => readItem(() => sessionStorage, MODEL);
export const saveKey = (key) => writeItem(() => sessionStorage, KEY, key);
export const loadKey = () => readItem(() => sessionStorage, KEY);
export const saveLanguage = (language) => writeItem(() => localStorage, LANGUAGE, language);
export const loadLanguage = () => readItem(() => localStorage, LANGUAGE);

function writeItem(getStorage, key, value) {
  try {
    getStorage().setItem(key, value);
  } catch {
    // The storage is full or not allowed.
  }
}

function readItem(getStorage, key) {
  try {
    return getStorage().getItem(key);
  } catch {
    return null;
  }
}
