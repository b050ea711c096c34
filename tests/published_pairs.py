"""Pairs as data sets publish them, drawn small and hard to tell apart."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from postprocess import DrawingSide, join_pair
from tests.conftest import encode


def draw_published(seed: int, drawing: DrawingSide = "left") -> NDArray[np.uint8]:
    """Return uint8 256×512×3: outlines beside a shaded grey thing on white.

    The picture is nearly grey and mostly white, as a drawing is.
    """
    random = np.random.default_rng(seed)
    picture = np.full((256, 256, 3), 255, np.uint8)
    lines = np.full((256, 256), 255, np.uint8)
    for _ in range(3):
        top, left = random.integers(20, 150, 2)
        height, width = random.integers(30, 80, 2)
        shade = np.linspace(random.integers(0, 60), random.integers(90, 160), width)
        picture[top : top + height, left : left + width] = shade[:, np.newaxis].astype(np.uint8)
        lines[[top, top + height], left : left + width] = 0
        lines[top : top + height, [left, left + width]] = 0
    pair = join_pair(lines, picture)
    return pair if drawing == "left" else np.roll(pair, 256, axis=1)


def publish_folder(
    folder: Path, count: int, drawing: DrawingSide = "left", kind: str = "JPEG", first: int = 0
) -> Path:
    """Write a folder of different pairs, laid out as the published sets are."""
    for number in range(first, first + count):
        place = folder / ("val" if number % 4 == 3 else "train")
        place.mkdir(parents=True, exist_ok=True)
        suffix = {"JPEG": "jpg", "PNG": "png"}[kind]
        content = encode(draw_published(number, drawing), kind)
        (place / f"{number}_AB.{suffix}").write_bytes(content)
    return folder
