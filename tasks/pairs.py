"""One picture to one pair: what comes before the network, and what comes after it."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasets import RejectedPicture, decode_picture
from errors import IntegrityError
from postprocess import (
    PAIR_SIZE,
    centre,
    clean_edges,
    detail_side,
    edge_density,
    encode_pair,
    fit_picture,
    join_pair,
    recognise_pair,
    reduce_map,
)
from storage import Reason, keys
from storage.manifest import Row, split_of
from tasks.plan import PairPlan

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Draft:
    """A pair that still lacks its drawing, or will never be one.

    Attributes
    ----------
    row : its row; rejected where there is no picture.
    picture : right half of the pair before it is centred, uint8 h×w×3; None where rejected.
    source : what the network is to see, uint8 H×W×3; None where it sees nothing.
    drawing : left half where the file came with one, uint8 H×W.
    """

    row: Row
    picture: Picture | None = None
    source: Picture | None = None
    drawing: Picture | None = None


def draft_pair(plan: PairPlan, row: Row, content: bytes | None) -> Draft:
    """Decode a file and fit it to the square, or reject its row.

    Parameters
    ----------
    plan : what to make.
    row : of the raw index; changed in place.
    content : the file's bytes; None where the row was rejected before.

    Raises
    ------
    IntegrityError
        If the bytes are not those that were acquired.
    """
    if content is None:
        return Draft(row)
    dataset, geometry = plan.dataset, plan.dataset.geometry
    if row.sha256 != hashlib.sha256(content).hexdigest():
        raise IntegrityError(
            f"{plan.raw_folder}/{keys.shard_name(row.shard)} is damaged at "
            f"{row.source_path}. Delete that folder and run `icanvas prepare` again."
        )
    assert row.pixel_hash is not None, "an accepted row was decoded"
    row.split = split_of(row.pixel_hash, dataset.val_share)
    try:
        picture = decode_picture(content, row.source_path, geometry.colour, dataset.max_pixels)
    except RejectedPicture as rejected:
        # Acquired with another decoder than this worker's.
        row.reject(rejected.reason, rejected.detail)
        return Draft(row)
    if dataset.paired:
        return _draft_of_ready_pair(row, picture)
    height, width = picture.shape[:2]
    if min(height, width) < geometry.min_side:
        row.reject(Reason.TOO_SMALL, f"{width}×{height}, under {geometry.min_side} px")
        return Draft(row)
    if max(height, width) > geometry.max_aspect * min(height, width):
        row.reject(Reason.ASPECT, f"{width}×{height}, over {geometry.max_aspect:g}:1")
        return Draft(row)
    fitted = fit_picture(picture, PAIR_SIZE, geometry.mode, geometry.enlarge)
    side = detail_side(height, width, PAIR_SIZE, geometry.mode, dataset.edges.scale)
    detailed = fitted if side == PAIR_SIZE else fit_picture(picture, side, geometry.mode)
    return Draft(row, fitted, source=detailed)


def finish_pair(plan: PairPlan, draft: Draft, edges: NDArray[np.float32] | None) -> bytes | None:
    """Return a draft's pair as PNG, or None with its row rejected.

    Parameters
    ----------
    plan : what to make.
    draft : from ``draft_pair``.
    edges : the edge map of ``draft.source``, float32 H×W in [0, 1]; None where that is None.
    """
    row, picture, settings = draft.row, draft.picture, plan.dataset.edges
    if picture is None:
        return None
    drawing = draft.drawing
    if drawing is None:
        assert edges is not None and plan.threshold is not None, "a plan with edges has both"
        edges = reduce_map(edges, *picture.shape[:2])
        drawing = clean_edges(edges, plan.threshold, settings.min_pixels)
        drawing = centre(drawing, PAIR_SIZE, 255)
        picture = centre(picture, PAIR_SIZE, plan.dataset.geometry.colour)
    row.edge_density = edge_density(drawing)
    if row.edge_density < settings.min_density:
        row.reject(
            Reason.BLANK_EDGES,
            f"{row.edge_density:.2%} line pixels, under {settings.min_density:.2%}",
        )
        return None
    return encode_pair(join_pair(drawing, picture))


def _draft_of_ready_pair(row: Row, image: Picture) -> Draft:
    height, width = image.shape[:2]
    halves = recognise_pair(image)
    if halves is None:
        row.reject(Reason.NOT_A_PAIR, f"{width}×{height} is not a drawing left of its picture")
        return Draft(row)
    # Scaled together: a drawing at another size would no longer be lines of one pixel.
    if height != PAIR_SIZE:
        row.reject(Reason.NOT_A_PAIR, f"a pair is 512×256, this one {width}×{height}")
        return Draft(row)
    drawing, picture = halves
    return Draft(row, picture, drawing=drawing)
