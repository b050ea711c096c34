"""Generated pairs in the layout of published data sets."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from postprocess import DrawingSide, join_pair
from tests.conftest import encode


def draw_published(seed: int, drawing: DrawingSide = "left") -> NDArray[np.uint8]:
    """Draw a pair: outlines beside gray shaded rectangles on white.

    The picture is nearly gray and mostly white, so that it resembles a drawing.

    Parameters
    ----------
    seed : int
        Seed of the rectangles.
    drawing : {"left", "right"}
        Side of the drawing.

    Returns
    -------
    ndarray
        uint8 256×512×3 RGB.
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
    """Write a folder of different pairs in the layout of published data sets.

    Parameters
    ----------
    folder : Path
        Folder to write to.
    count : int
        Number of pairs; every fourth one goes to ``val/``.
    drawing : {"left", "right"}
        Side of the drawing.
    kind : {"JPEG", "PNG"}
        Format of the files.
    first : int
        Number of the first pair.

    Returns
    -------
    Path
        The folder.
    """
    for number in range(first, first + count):
        split_folder = folder / ("val" if number % 4 == 3 else "train")
        split_folder.mkdir(parents=True, exist_ok=True)
        suffix = {"JPEG": "jpg", "PNG": "png"}[kind]
        content = encode(draw_published(number, drawing), kind)
        (split_folder / f"{number}_AB.{suffix}").write_bytes(content)
    return folder
