// The page: puts the sheet, the choices and the picture together.

import { showDrawing } from "./canvas.js";
import { showModels, showOutlines } from "./choices.js";
import { Trouble, fetchModels, useKey } from "./client.js";
import { Drawing } from "./drawing.js";
import {
  keepKey, keepLanguage, keepModel, keepStrokes, keptKey, keptLanguage, keptModel, keptStrokes,
} from "./keep.js";
import { followKeys } from "./keys.js";
import { Live } from "./live.js";
import { refresh, say, show } from "./notice.js";
import { followPointers } from "./pointer.js";
import { canShare, download, share, toFile } from "./save.js";
import { chooseLanguage, other, useLanguage } from "./words.js";

// Milliseconds: until the models are asked for again when there are some, and when there are none.
const GLANCE = 60_000;
const SOON = 10_000;
// How long a picture that is being made may hold up saving.
const UNTIL_SAVED = 5_000;

const $ = (id) => document.getElementById(id);
const sheet = $("sheet");
const picture = $("picture");
const buttons = { undo: $("undo"), redo: $("redo"), clear: $("clear"), save: $("save") };

const drawing = new Drawing(keptStrokes());
const live = new Live(report);
let models = [];
let model = null;
// The picture that is shown: its blob, and the strokes that it was made of.
let made = null;
let watch = 0;

function report(kind, detail) {
  if (kind === "picture") {
    showPicture(detail);
    const known = models.find(({ name }) => name === detail.model);
    if (detail.version && known?.version !== detail.version) watchModels();
    show("ready");
    return;
  }
  // Next to nothing is drawn.
  if (kind === "empty") showPicture(null);
  // The list of models is no longer true.
  if (kind === "unknown_model" || kind === "no_model") watchModels();
  show(kind === "unknown_model" ? "waking" : kind, detail.seconds);
}

function showPicture(detail) {
  if (picture.src) URL.revokeObjectURL(picture.src);
  made = detail;
  picture.hidden = detail === null;
  if (detail) picture.src = URL.createObjectURL(detail.blob);
  else picture.removeAttribute("src");
}

function want(rest) {
  if (!drawing.strokes.length) {
    live.forget();
    showPicture(null);
    if (model) show("empty");
  } else if (model) {
    live.want(model.name, drawing.strokes, rest);
  }
}

function choose(name) {
  model = models.find((each) => each.name === name) ?? null;
  keepModel(name);
  trace(null);
  showOutlines($("outlines"), model, false, trace);
  want(0);
}

// The chosen model may be of another version now; what is being traced stays.
function renew(chosen) {
  const same = chosen.version === model.version;
  model = chosen;
  if (same) return;
  showOutlines($("outlines"), model, !$("outline-below").hidden, trace);
  want(0);
}

function trace(url) {
  const outline = $("outline-below");
  outline.hidden = url === null;
  if (url) outline.src = url;
}

async function watchModels() {
  clearTimeout(watch);
  let pause = GLANCE;
  try {
    const found = await fetchModels();
    const mark = (list) => JSON.stringify(list.map(({ name, version }) => [name, version]));
    if (mark(found) !== mark(models)) adopt(found);
    if (!found.length) {
      show("no_model");
      pause = SOON;
    }
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    // While a picture is waited for, its own tries tell how it goes.
    pause = 1000 * (error.seconds ?? 5);
    if (live.idle && !models.length) show(error.kind, pause / 1000);
  }
  clearTimeout(watch);
  watch = setTimeout(watchModels, pause);
}

function adopt(found) {
  models = found;
  $("models").closest("fieldset").hidden = !found.length;
  const name = [model?.name, keptModel(), found[0]?.name].find(
    (wanted) => found.some((each) => each.name === wanted),
  );
  showModels($("models"), found, name, choose);
  if (!name) model = null;
  else if (name === model?.name) renew(found.find((each) => each.name === name));
  else choose(name);
}

function refreshButtons() {
  buttons.undo.disabled = !drawing.canUndo;
  buttons.redo.disabled = !drawing.canRedo;
  buttons.clear.disabled = buttons.save.disabled = $("share").disabled = !drawing.strokes.length;
}

function step(name, words) {
  drawing[name]();
  say(words);
}

// Waits for the picture of what is drawn, and does without when it does not come.
async function keepBoth(how) {
  await live.settled(UNTIL_SAVED);
  const fits = made?.strokes === drawing.strokes;
  await how(await toFile(drawing.strokes, fits ? made.blob : null, model?.name ?? "drawing"));
}

function translateAll(language) {
  useLanguage(language);
  $("language").lang = other();
  refresh();
}

drawing.addEventListener("start", () => live.hold());
drawing.addEventListener("rest", () => live.resume());
drawing.addEventListener("change", () => {
  keepStrokes(drawing.strokes);
  refreshButtons();
  want();
});

for (const radio of document.querySelectorAll("input[name=tool]")) {
  radio.addEventListener("change", () => {
    drawing.erasing = radio.value === "eraser";
    sheet.classList.toggle("erasing", drawing.erasing);
    if (!drawing.erasing) drawing.width = Number(radio.value);
  });
}

buttons.undo.addEventListener("click", () => step("undo", "undone"));
buttons.redo.addEventListener("click", () => step("redo", "redone"));
buttons.clear.addEventListener("click", () => step("clear", "cleared"));
buttons.save.addEventListener("click", () => keepBoth((file) => {
  download(file);
  say("saved");
}));
$("share").addEventListener("click", () => keepBoth(share));
$("share").hidden = !canShare();

document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
  const key = event.key.toLowerCase();
  const back = key === "z" && !event.shiftKey;
  if (!back && key !== "z" && key !== "y") return;
  event.preventDefault();
  buttons[back ? "undo" : "redo"].click();
});

$("language").addEventListener("click", () => {
  keepLanguage(other());
  translateAll(other());
});

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") watchModels();
  else clearTimeout(watch);
});
window.addEventListener("online", watchModels);

const given = new URLSearchParams(window.location.hash.slice(1)).get("key");
if (given) {
  keepKey(given);
  window.history.replaceState(null, "", window.location.pathname + window.location.search);
}
useKey(given ?? keptKey());
chooseLanguage(keptLanguage());
translateAll(document.documentElement.lang);
showDrawing(sheet, drawing);
followPointers(sheet, $("ring"), drawing);
followKeys(sheet, $("marker"), drawing, say);
refreshButtons();
show("waking");
watchModels();
