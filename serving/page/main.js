// Entry point of the page: connects the sheet, the choices and the picture.

import {
  loadKey, loadLanguage, loadModel, loadStrokes, saveKey, saveLanguage, saveModel, saveStrokes,
} from "./autosave.js";
import { attachCanvas } from "./canvas.js";
import { renderModels, renderOutlines } from "./choices.js";
import { RequestError, fetchModels, setApiKey } from "./client.js";
import { Drawing } from "./drawing.js";
import { detectLanguage, getOtherLanguage, setLanguage } from "./i18n.js";
import { handleKeyboard } from "./keys.js";
import { announce, showState, updateText } from "./notice.js";
import { handlePointers } from "./pointer.js";
import { Preview } from "./preview.js";
import { canShare, download, renderFile, share } from "./save.js";

const POLL_INTERVAL_MS = 60_000;
// While there are no models.
const EMPTY_POLL_INTERVAL_MS = 10_000;
// How long saving waits for a picture that is being generated.
const SAVE_TIMEOUT_MS = 5_000;

const $ = (id) => document.getElementById(id);
const sheet = $("sheet");
const picture = $("picture");
const outline = $("traced-outline");
const buttons = { undo: $("undo"), redo: $("redo"), clear: $("clear"), save: $("save") };

const drawing = new Drawing(loadStrokes());
const preview = new Preview(onPreviewUpdate);
let models = [];
let model = null;
// The shown picture: its blob, and the strokes that it was generated from.
let shownPicture = null;
let pollTimer = 0;

function onPreviewUpdate(state, detail) {
  if (state === "picture") {
    showPicture(detail);
    const current = models.find(({ name }) => name === detail.model);
    if (detail.version && current?.version !== detail.version) pollModels();
    showState("ready");
    return;
  }
  // The drawing is almost blank.
  if (state === "empty") showPicture(null);
  // The list of models is outdated.
  if (state === "unknown_model" || state === "no_model") pollModels();
  showState(state === "unknown_model" ? "loading" : state, detail.seconds);
}

function showPicture(detail) {
  if (picture.src) URL.revokeObjectURL(picture.src);
  shownPicture = detail;
  picture.hidden = detail === null;
  if (detail) picture.src = URL.createObjectURL(detail.blob);
  else picture.removeAttribute("src");
}

function updatePreview(delay) {
  if (!drawing.strokes.length) {
    preview.cancel();
    showPicture(null);
    if (model) showState("empty");
  } else if (model) {
    preview.request(model.name, drawing.strokes, delay);
  }
}

function selectModel(name) {
  model = models.find((each) => each.name === name) ?? null;
  saveModel(name);
  setOutline(null);
  renderOutlines($("outlines"), model, false, setOutline);
  updatePreview(0);
}

// Replaces the selected model by its current version; the traced outline stays.
function updateSelectedModel(current) {
  const isSame = current.version === model.version;
  model = current;
  if (isSame) return;
  renderOutlines($("outlines"), model, !outline.hidden, setOutline);
  updatePreview(0);
}

function setOutline(url) {
  outline.hidden = url === null;
  if (url) outline.src = url;
}

async function pollModels() {
  clearTimeout(pollTimer);
  let interval = POLL_INTERVAL_MS;
  try {
    const fetched = await fetchModels();
    const toKey = (list) => JSON.stringify(list.map(({ name, version }) => [name, version]));
    if (toKey(fetched) !== toKey(models)) setModels(fetched);
    if (!fetched.length) {
      showState("no_model");
      interval = EMPTY_POLL_INTERVAL_MS;
    }
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    // A pending preview reports its own errors.
    interval = 1000 * (error.retryAfter ?? 5);
    if (preview.isIdle && !models.length) showState(error.code, interval / 1000);
  }
  clearTimeout(pollTimer);
  pollTimer = setTimeout(pollModels, interval);
}

function setModels(fetched) {
  models = fetched;
  $("models").closest("fieldset").hidden = !fetched.length;
  const name = [model?.name, loadModel(), fetched[0]?.name].find(
    (candidate) => fetched.some((each) => each.name === candidate),
  );
  renderModels($("models"), fetched, name, selectModel);
  if (!name) model = null;
  else if (name === model?.name) updateSelectedModel(fetched.find((each) => each.name === name));
  else selectModel(name);
}

function updateButtons() {
  buttons.undo.disabled = !drawing.canUndo;
  buttons.redo.disabled = !drawing.canRedo;
  buttons.clear.disabled = buttons.save.disabled = $("share").disabled = !drawing.strokes.length;
}

function runStep(method, message) {
  drawing[method]();
  announce(message);
}

// Renders the drawing with its picture to a file; without the picture if it takes too long.
async function exportFile(onFile) {
  await preview.waitUntilIdle(SAVE_TIMEOUT_MS);
  const isCurrent = shownPicture?.strokes === drawing.strokes;
  const blob = isCurrent ? shownPicture.blob : null;
  await onFile(await renderFile(drawing.strokes, blob, model?.name ?? "drawing"));
}

function switchLanguage(language) {
  setLanguage(language);
  $("language").lang = getOtherLanguage();
  updateText();
}

drawing.addEventListener("start", () => preview.pause());
drawing.addEventListener("end", () => preview.resume());
drawing.addEventListener("change", () => {
  saveStrokes(drawing.strokes);
  updateButtons();
  updatePreview();
});

for (const radio of document.querySelectorAll("input[name=tool]")) {
  radio.addEventListener("change", () => {
    drawing.erasing = radio.value === "eraser";
    sheet.classList.toggle("erasing", drawing.erasing);
    if (!drawing.erasing) drawing.width = Number(radio.value);
  });
}

buttons.undo.addEventListener("click", () => runStep("undo", "undone"));
buttons.redo.addEventListener("click", () => runStep("redo", "redone"));
buttons.clear.addEventListener("click", () => runStep("clear", "cleared"));
buttons.save.addEventListener("click", () => exportFile((file) => {
  download(file);
  announce("saved");
}));
$("share").addEventListener("click", () => exportFile(share));
$("share").hidden = !canShare();

document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
  const key = event.key.toLowerCase();
  const isUndo = key === "z" && !event.shiftKey;
  if (!isUndo && key !== "z" && key !== "y") return;
  event.preventDefault();
  buttons[isUndo ? "undo" : "redo"].click();
});

$("language").addEventListener("click", () => {
  saveLanguage(getOtherLanguage());
  switchLanguage(getOtherLanguage());
});

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") pollModels();
  else clearTimeout(pollTimer);
});
window.addEventListener("online", pollModels);

const keyFromUrl = new URLSearchParams(window.location.hash.slice(1)).get("key");
if (keyFromUrl) {
  saveKey(keyFromUrl);
  window.history.replaceState(null, "", window.location.pathname + window.location.search);
}
setApiKey(keyFromUrl ?? loadKey());
switchLanguage(detectLanguage(loadLanguage()));
attachCanvas(sheet, drawing);
handlePointers(sheet, $("eraser-cursor"), drawing);
handleKeyboard(sheet, $("keyboard-cursor"), drawing, announce);
updateButtons();
showState("loading");
pollModels();
