"""Sample grids: what the generator makes of fixed drawings."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from model.data.dataset import PairDataset, scale_drawing, to_condition
from model.networks.generator import Generator
from postprocess import drawing_extent, encode_jpeg, make_sheet, normalise_sketch

_MOST_ROWS = 8
_GRIDS_BESIDE = 2
_SKETCHES_BESIDE = 4
_MEASURED = 50


def draw_samples(generator: Generator, pairs: PairDataset, device: torch.device) -> bytes:
    """Return a JPEG of condition | generated | target for the first pairs.

    Two such triples stand beside each other in a row.
    """
    shown: list[NDArray[np.uint8]] = []
    for index in range(min(len(pairs), _MOST_ROWS)):
        condition, target = pairs[index]
        shown += [*_draw(generator, condition, device), to_image(target)]
    return encode_jpeg(make_sheet(shown, 3 * _GRIDS_BESIDE), quality=92)


def draw_sketches(
    generator: Generator, sketches: Iterable[NDArray[np.uint8]], device: torch.device
) -> bytes:
    """Return a JPEG of drawing | generated, four such pairs in a row.

    Parameters
    ----------
    sketches : at least one, uint8 S×S, as ``fit_sketch`` returns them.
    """
    shown: list[NDArray[np.uint8]] = []
    for sketch in sketches:
        shown += _draw(generator, to_condition(sketch), device)
    return encode_jpeg(make_sheet(shown, 2 * _SKETCHES_BESIDE), quality=92)


def fit_sketch(sketch: NDArray[np.uint8], extent: float, side: int) -> NDArray[np.uint8]:
    """Return any drawing as a run's conditions are: uint8 side×side.

    Parameters
    ----------
    sketch : as ``normalise_sketch`` takes it.
    extent : of the drawings that are trained on; see ``typical_extent``.
    side : image size of the run in pixels.
    """
    return scale_drawing(normalise_sketch(sketch, extent=extent), side)


def typical_extent(pairs: PairDataset) -> float:
    """Return the median over (at most 50 of) the pairs of ``drawing_extent``, in (0, 1].

    Raises
    ------
    IntegrityError
        If a pair is damaged.
    """
    chosen = np.linspace(0, len(pairs) - 1, min(_MEASURED, len(pairs))).round().astype(int)
    extents = [drawing_extent(pairs.halves(index)[0]) for index in chosen.tolist()]
    return float(np.median(extents)) or 1.0


@torch.no_grad()
def _draw(
    generator: Generator, condition: torch.Tensor, device: torch.device
) -> list[NDArray[np.uint8]]:
    """Return a condition (1, S, S) and what is generated from it as images."""
    generated = generator(condition.unsqueeze(0).to(device))[0].cpu()
    return [to_image(condition.repeat(3, 1, 1) * 2 - 1), to_image(generated)]


def to_image(picture: torch.Tensor) -> NDArray[np.uint8]:
    """Return a picture (float (3, H, W) in [-1, 1]) as uint8 H×W×3 RGB."""
    scaled = ((picture + 1) * 127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(1, 2, 0).numpy()
