"""Sample grids: pictures that the generator makes of fixed drawings."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from model.data.dataset import PairDataset, scale_drawing, to_condition
from model.networks.generator import Generator
from postprocess import compute_extent, encode_jpeg, make_contact_sheet, normalize_sketch

_MAX_SAMPLE_PAIRS = 8
_SAMPLES_PER_ROW = 2
_SKETCHES_PER_ROW = 4
_MAX_MEASURED_PAIRS = 50


def render_samples(generator: Generator, pairs: PairDataset, device: torch.device) -> bytes:
    """Render a grid of condition, generated picture and target for the first (up to 8) pairs.

    A row has two such triples.

    Parameters
    ----------
    generator : Generator
        On the device.
    pairs : PairDataset
        At least one pair.
    device : torch.device
        Where pictures are generated.

    Returns
    -------
    bytes
        JPEG.
    """
    tiles: list[NDArray[np.uint8]] = []
    for index in range(min(len(pairs), _MAX_SAMPLE_PAIRS)):
        condition, target = pairs[index]
        tiles += [*_render_condition_and_picture(generator, condition, device), to_image(target)]
    return encode_jpeg(make_contact_sheet(tiles, 3 * _SAMPLES_PER_ROW), quality=92)


def render_sketches(
    generator: Generator, sketches: Iterable[NDArray[np.uint8]], device: torch.device
) -> bytes:
    """Render a grid of sketch and generated picture.

    A row has four such couples.

    Parameters
    ----------
    generator : Generator
        On the device.
    sketches : iterable of ndarray
        At least one, uint8 S×S, from ``prepare_sketch``.
    device : torch.device
        Where pictures are generated.

    Returns
    -------
    bytes
        JPEG.
    """
    tiles: list[NDArray[np.uint8]] = []
    for sketch in sketches:
        tiles += _render_condition_and_picture(generator, to_condition(sketch), device)
    return encode_jpeg(make_contact_sheet(tiles, 2 * _SKETCHES_PER_ROW), quality=92)


def prepare_sketch(sketch: NDArray[np.uint8], extent: float, side: int) -> NDArray[np.uint8]:
    """Normalize a sketch to a condition of a run.

    Parameters
    ----------
    sketch : ndarray
        As ``postprocess.normalize_sketch`` accepts it.
    extent : float
        Extent of the training drawings, in (0, 1]; see ``compute_median_extent``.
    side : int
        Image size of the run in pixels.

    Returns
    -------
    ndarray
        uint8 side×side, black lines on white.
    """
    return scale_drawing(normalize_sketch(sketch, extent=extent), side)


def compute_median_extent(pairs: PairDataset) -> float:
    """Return the median extent of (up to 50 of) the drawings, in (0, 1].

    The extent is the fraction of a side that a drawing takes; see ``postprocess.compute_extent``.

    Parameters
    ----------
    pairs : PairDataset
        At least one pair.

    Returns
    -------
    float

    Raises
    ------
    CorruptObjectError
        If a pair is damaged.
    """
    indices = (
        np.linspace(0, len(pairs) - 1, min(_MAX_MEASURED_PAIRS, len(pairs))).round().astype(int)
    )
    extents = [compute_extent(pairs.load_pair(index)[0]) for index in indices.tolist()]
    return float(np.median(extents)) or 1.0


@torch.no_grad()
def _render_condition_and_picture(
    generator: Generator, condition: torch.Tensor, device: torch.device
) -> list[NDArray[np.uint8]]:
    """Return a condition (1, S, S) and the picture generated from it as uint8 S×S×3 images."""
    generated = generator(condition.unsqueeze(0).to(device))[0].cpu()
    return [to_image(condition.repeat(3, 1, 1) * 2 - 1), to_image(generated)]


def to_image(picture: torch.Tensor) -> NDArray[np.uint8]:
    """Return a picture (float (3, H, W) in [-1, 1]) as uint8 H×W×3 RGB.

    Examples
    --------
    >>> import torch
    >>> to_image(torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1)).tolist()
    [[[0, 128, 255]]]
    """
    scaled = ((picture + 1) * 127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(1, 2, 0).numpy()
