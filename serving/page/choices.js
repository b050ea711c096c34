// What to draw, and what to trace: two groups of radio buttons with pictures.

import { exampleUrl } from "./client.js";
import { translate } from "./words.js";

const piece = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

async function load(picture, model, number, what) {
  const url = await exampleUrl(model, number, what);
  if (url) picture.src = url;
}

// Shows a card for each model. `choose(name)` is called when a child picks one.
export function showModels(group, models, chosen, choose) {
  const focused = group.contains(document.activeElement);
  group.replaceChildren(...models.map((model) => {
    const card = piece("card");
    const [radio, picture, title] = [
      card.querySelector("input"), card.querySelector("img"), card.querySelector("span"),
    ];
    radio.value = model.name;
    radio.checked = model.name === chosen;
    radio.addEventListener("change", () => choose(model.name));
    title.textContent = model.title;
    if (model.examples) load(picture, model, 0, "picture");
    else picture.remove();
    return card;
  }));
  const radio = group.querySelector("input:checked");
  if (focused) radio?.focus();
  radio?.parentElement.scrollIntoView({ block: "nearest", inline: "center" });
}

// Shows a model's drawings to trace; `choose(url)` is called with null for none. While one of another
// version is `traced`, none of these is chosen.
export function showOutlines(group, model, traced, choose) {
  const count = model?.examples ?? 0;
  group.closest("fieldset").hidden = count === 0;
  const none = piece("no-outline");
  none.querySelector("input").checked = !traced;
  none.querySelector("input").addEventListener("change", () => choose(null));
  const outlines = Array.from({ length: count }, (_, number) => {
    const outline = piece("outline");
    const [radio, picture] = [outline.querySelector("input"), outline.querySelector("img")];
    radio.dataset.number = number + 1;
    radio.addEventListener("change", () => choose(picture.src || null));
    load(picture, model, number, "drawing");
    return outline;
  });
  group.replaceChildren(none, ...outlines);
  translate(group);
}
