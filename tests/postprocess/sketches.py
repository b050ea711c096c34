"""Simulated sketches in various media, made from the line drawings of the demo data set."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

LINES = Path(__file__).parents[2] / "sources" / "demo" / "line"
Array = NDArray[np.uint8]


def load_lines(name: str, side: int = 512) -> Array:
    """Return a designer's line drawing as uint8 side×side, black on white."""
    image = Image.open(LINES / name).convert("RGBA").resize((side, side))
    sheet = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(sheet.convert("L"))


def marker(lines: Array, width: int = 7) -> Array:
    tip = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    return cv2.erode(lines, tip).astype(np.uint8)


def pencil(lines: Array, seed: int = 0) -> Array:
    """A faint gray line on grained, yellowish paper."""
    random = np.random.default_rng(seed)
    stroke = cv2.GaussianBlur(255 - lines, (0, 0), 1.0).astype(float) / 255
    grain = random.normal(0, 4, lines.shape)
    gray = 225 + grain - 90 * stroke * random.uniform(0.7, 1, lines.shape)
    paper = np.stack([gray + 8, gray, gray - 25], axis=2)
    return np.clip(paper, 0, 255).astype(np.uint8)


def photo(lines: Array, seed: int = 0) -> Array:
    """A photograph of a sheet: shading from a corner, warm light, noise, blur."""
    random = np.random.default_rng(seed)
    side = len(lines)
    y, x = np.mgrid[:side, :side] / side
    light = 0.95 - 0.55 * np.hypot(x - 0.1, y)
    ink = cv2.GaussianBlur(lines, (0, 0), 1.5).astype(float) / 255
    gray = 255 * light * (0.25 + 0.75 * ink)
    channels = np.stack([gray, gray * 0.93, gray * 0.8], axis=2) + random.normal(
        0, 5, (side, side, 3)
    )
    return np.clip(channels, 0, 255).astype(np.uint8)


def transparent(lines: Array, color: int = 0) -> Array:
    """Strokes of one color on a transparent background."""
    strokes = np.full((*lines.shape, 4), color, np.uint8)
    strokes[..., 3] = 255 - lines
    return strokes


def chalk(lines: Array) -> Array:
    return (30 + (255 - lines).astype(int) * 210 // 255).astype(np.uint8)


def crayon(lines: Array) -> Array:
    """A yellow stroke, nearly as bright as the paper."""
    stroke = (255 - lines)[..., np.newaxis] / 255
    paper, yellow = np.array([252, 252, 250]), np.array([250, 220, 40])
    return (paper * (1 - stroke) + yellow * stroke).astype(np.uint8)


DRAWING_MEDIA = {
    "marker": marker,
    "pencil": pencil,
    "photo": photo,
    "transparent": transparent,
    "white on transparent": lambda lines: transparent(lines, 255),
    "chalk": chalk,
    "crayon": crayon,
}
