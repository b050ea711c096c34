// Saving and sharing: drawing and picture side by side in one PNG file.

import { paintStrokes } from "./canvas.js";

const SIDE = 1024;
const MARGIN = 64;
const BACKGROUND = "#e7f0ee";

// Returns a PNG file of the drawing and the picture. `picture` is a blob, or null for the drawing
// only.
export async function renderFile(strokes, picture, name) {
  const canvas = document.createElement("canvas");
  const columns = picture ? 2 : 1;
  canvas.width = columns * (SIDE + MARGIN) + MARGIN;
  canvas.height = SIDE + 2 * MARGIN;
  const context = canvas.getContext("2d");
  context.fillStyle = BACKGROUND;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#fff";
  context.fillRect(MARGIN, MARGIN, SIDE, SIDE);
  paintStrokes(context, strokes, MARGIN, MARGIN, SIDE);
  if (picture) {
    const bitmap = await createImageBitmap(picture);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, SIDE + 2 * MARGIN, MARGIN, SIDE, SIDE);
    bitmap.close();
  }
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return new File([blob], `icanvas-${name}-${formatTimestamp()}.png`, { type: "image/png" });
}

export function download(file) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = file.name;
  link.click();
  // Some browsers read the URL only after the click.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export function canShare() {
  const probe = new File([new Uint8Array(1)], "probe.png", { type: "image/png" });
  return Boolean(navigator.canShare?.({ files: [probe] }));
}

// Shares a file, and downloads it if sharing fails. Resolves also if the user cancels.
export async function share(file) {
  try {
    await navigator.share({ files: [file] });
  } catch (error) {
    if (error.name !== "AbortError") download(file);
  }
}

function formatTimestamp() {
  const date = new Date();
  const pad = (value) => String(value).padStart(2, "0");
  return [
    date.getFullYear(), pad(date.getMonth() + 1), pad(date.getDate()), "-",
    pad(date.getHours()), pad(date.getMinutes()), pad(date.getSeconds()),
  ].join("");
}
