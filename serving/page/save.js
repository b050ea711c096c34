// Drawing and picture side by side, as a file of one's own.

import { paintAll } from "./canvas.js";

const SIDE = 1024;
const MARGIN = 64;
const GROUND = "#e7f0ee";

// `picture` is a blob, or null for the drawing alone. Returns a PNG file.
export async function toFile(strokes, picture, name) {
  const canvas = document.createElement("canvas");
  const sheets = picture ? 2 : 1;
  canvas.width = sheets * (SIDE + MARGIN) + MARGIN;
  canvas.height = SIDE + 2 * MARGIN;
  const context = canvas.getContext("2d");
  context.fillStyle = GROUND;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#fff";
  context.fillRect(MARGIN, MARGIN, SIDE, SIDE);
  paintAll(context, strokes, MARGIN, MARGIN, SIDE);
  if (picture) {
    const bitmap = await createImageBitmap(picture);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, SIDE + 2 * MARGIN, MARGIN, SIDE, SIDE);
    bitmap.close();
  }
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return new File([blob], `icanvas-${name}-${now()}.png`, { type: "image/png" });
}

export function download(file) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = file.name;
  link.click();
  // Some browsers read it only after the click.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export function canShare() {
  const probe = new File([new Uint8Array(1)], "probe.png", { type: "image/png" });
  return Boolean(navigator.canShare?.({ files: [probe] }));
}

// Resolves whether or not it was shared in the end.
export async function share(file) {
  try {
    await navigator.share({ files: [file] });
  } catch (error) {
    if (error.name !== "AbortError") download(file);
  }
}

function now() {
  const date = new Date();
  const two = (value) => String(value).padStart(2, "0");
  return [
    date.getFullYear(), two(date.getMonth() + 1), two(date.getDate()), "-",
    two(date.getHours()), two(date.getMinutes()), two(date.getSeconds()),
  ].join("");
}
