"""Sample grids: what the generator makes of fixed drawings."""

import numpy as np
import torch
from numpy.typing import NDArray

from model.data import PairDataset
from model.generator import Generator
from postprocess import encode_jpeg, make_sheet

_MOST_ROWS = 8
_GRIDS_BESIDE = 2


@torch.no_grad()
def draw_samples(generator: Generator, pairs: PairDataset, device: torch.device) -> bytes:
    """Return a JPEG of condition | generated | target for the first pairs.

    Two such triples stand beside each other in a row.
    """
    shown: list[NDArray[np.uint8]] = []
    for index in range(min(len(pairs), _MOST_ROWS)):
        condition, target = pairs[index]
        generated = generator(condition.unsqueeze(0).to(device))[0].cpu()
        shown += [_to_image(condition.repeat(3, 1, 1) * 2 - 1), _to_image(generated)]
        shown.append(_to_image(target))
    return encode_jpeg(make_sheet(shown, 3 * _GRIDS_BESIDE), quality=92)


def _to_image(picture: torch.Tensor) -> NDArray[np.uint8]:
    """Map float (3, H, W) in [-1, 1] to uint8 H×W×3."""
    scaled = ((picture + 1) * 127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(1, 2, 0).numpy()
