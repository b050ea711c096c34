"""Line drawings with all features of lines: ends, crossings, junctions and rings."""

import cv2
import numpy as np
from numpy.typing import NDArray

from postprocess.thin import thin


def draw_shapes(seed: int) -> NDArray[np.uint8]:
    """Return rings, curves and crossings as lines of one pixel: uint8 256×256, 0 on lines."""
    random = np.random.default_rng(seed)
    ink = np.zeros((256, 256), np.uint8)
    for _ in range(3):
        x, y = random.integers(60, 196, 2).tolist()
        cv2.circle(ink, (x, y), int(random.integers(15, 50)), 1)
    for _ in range(8):
        corners = random.integers(10, 246, (3, 2)).astype(np.int32)
        cv2.polylines(ink, [corners], isClosed=False, color=1)
    return np.where(thin(ink > 0), np.uint8(0), np.uint8(255))
