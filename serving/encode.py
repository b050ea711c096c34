"""Conversions between drawings, generator outputs and PNG files."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from model.data.dataset import to_condition
from model.training.samples import to_image
from postprocess import encode_png
from serving.engines import GenerateFn

Image8 = NDArray[np.uint8]


def generate_picture(generate: GenerateFn, drawing: Image8) -> Image8 | None:
    """Run a generator on a drawing.

    Parameters
    ----------
    generate : GenerateFn
        The generator.
    drawing : ndarray
        uint8 S×S, 0 on lines.

    Returns
    -------
    ndarray or None
        uint8 S×S×3 RGB; None if the output has another shape or values that are not finite.
    """
    picture = generate(to_condition(drawing).numpy())
    if picture.shape != (3, *drawing.shape) or not np.isfinite(picture).all():
        return None
    return to_image(torch.from_numpy(picture))


def encode_picture(image: Image8, size: int) -> bytes:
    """Resize an image and encode it as PNG.

    Parameters
    ----------
    image : ndarray
        uint8 S×S×3 RGB.
    size : int
        Side of the result in pixels.
    """
    if size != len(image):
        interpolation = cv2.INTER_AREA if size < len(image) else cv2.INTER_CUBIC
        image = cv2.resize(image, (size, size), interpolation=interpolation).astype(
            np.uint8, copy=False
        )
    return encode_png(image)


def decode_png(data: bytes, color: bool) -> Image8 | None:
    """Decode a PNG.

    Parameters
    ----------
    data : bytes
        The file.
    color : bool
        Whether to return RGB instead of gray.

    Returns
    -------
    ndarray or None
        uint8 H×W gray or H×W×3 RGB; None if the file cannot be decoded.
    """
    flag = cv2.IMREAD_COLOR_RGB if color else cv2.IMREAD_GRAYSCALE
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None
    return None if image is None else image.astype(np.uint8, copy=False)
