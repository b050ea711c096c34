"""A picture of any shape onto a square canvas."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FitMode = Literal["cover", "contain", "stretch"]
Colour = tuple[int, int, int]


def fit_picture(
    picture: NDArray[np.uint8],
    size: int,
    mode: FitMode,
    background: Colour = (255, 255, 255),
) -> NDArray[np.uint8]:
    """Scale a picture to a square with an antialiasing Lanczos filter.

    Parameters
    ----------
    picture : uint8 H×W×3 RGB.
    size : side of the square in pixels.
    mode : ``cover`` fills the square and crops the rest around the middle; ``contain`` shows all
        of the picture on the background; ``stretch`` changes the aspect ratio.
    background : RGB colour beside a contained picture.

    Returns
    -------
    ndarray
        uint8 size×size×3 RGB; the picture itself where it has that size already.
    """
    height, width = picture.shape[:2]
    if (height, width) == (size, size):
        return picture
    image = Image.fromarray(picture)
    if mode == "contain":
        scale = size / max(height, width)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = Image.new("RGB", (size, size), background)
        corner = ((size - inner[0]) // 2, (size - inner[1]) // 2)
        canvas.paste(image.resize(inner, Image.Resampling.LANCZOS), corner)
        return np.asarray(canvas)
    box = (0.0, 0.0, float(width), float(height))
    if mode == "cover":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, box=box))
