// Models and outlines to choose from: two groups of radio buttons with pictures.

import { getExampleUrl } from "./client.js";
import { translate } from "./i18n.js";

const cloneTemplate = (id) => (
  document.getElementById(id).content.firstElementChild.cloneNode(true)
);

async function loadExample(picture, model, number, kind) {
  const url = await getExampleUrl(model, number, kind);
  if (url) picture.src = url;
}

// Renders a card for each model. `onSelect(name)` is called when the user selects one.
export function renderModels(group, models, selectedName, onSelect) {
  const hadFocus = group.contains(document.activeElement);
  group.replaceChildren(...models.map((model) => {
    const card = cloneTemplate("card");
    const [radio, picture, title] = [
      card.querySelector("input"), card.querySelector("img"), card.querySelector("span"),
    ];
    radio.value = model.name;
    radio.checked = model.name === selectedName;
    radio.addEventListener("change", () => onSelect(model.name));
    title.textContent = model.title;
    if (model.examples) loadExample(picture, model, 0, "picture");
    else picture.remove();
    return card;
  }));
  const radio = group.querySelector("input:checked");
  if (hadFocus) radio?.focus();
  radio?.parentElement.scrollIntoView({ block: "nearest", inline: "center" });
}

// Renders a model's outlines. `onSelect(url)` is called with the outline's URL, or null for none.
// With `tracing`, an outline of another version is on the sheet, and none of these is selected.
export function renderOutlines(group, model, tracing, onSelect) {
  const count = model?.examples ?? 0;
  group.closest("fieldset").hidden = count === 0;
  const none = cloneTemplate("no-outline");
  none.querySelector("input").checked = !tracing;
  none.querySelector("input").addEventListener("change", () => onSelect(null));
  const outlines = Array.from({ length: count }, (_, number) => {
    const outline = cloneTemplate("outline");
    const [radio, picture] = [outline.querySelector("input"), outline.querySelector("img")];
    radio.dataset.number = number + 1;
    radio.addEventListener("change", () => onSelect(picture.src || null));
    loadExample(picture, model, number, "drawing");
    return outline;
  });
  group.replaceChildren(none, ...outlines);
  translate(group);
}
