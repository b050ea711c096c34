"""One file to one pair: what comes before the network, and what comes after it."""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import DamagedError, IntegrityError
from postprocess import (
    PAIR_SIZE,
    centre,
    clean_edges,
    decode_pair,
    detail_side,
    edge_density,
    encode_png,
    fit_picture,
    join_pair,
    reduce_map,
    split_pair,
)
from sources import RejectedPicture, decode_picture
from storage import Reason, keys
from storage.manifest import Row
from tasks.drawing_side import check_halves
from tasks.pair_set_plan import PairPlan

Picture = NDArray[np.uint8]

# Decoders of JPEG may differ by a few levels, and by more beside strong colours.
_FAR = 32
_MOST_FAR = 0.01


@dataclass(frozen=True)
class Draft:
    """A pair that still lacks its drawing, or will never be one.

    Attributes
    ----------
    row : its row; rejected where there is no picture.
    picture : right half of the pair before it is centred, uint8 h×w×3; None where rejected.
    source : what the network is to see, uint8 H×W×3; None where it sees nothing.
    """

    row: Row
    picture: Picture | None = None
    source: Picture | None = None


def draft_pair(plan: PairPlan, row: Row, content: bytes | None) -> Draft:
    """Decode a file and fit its picture to the square, or reject its row.

    Parameters
    ----------
    plan : what to make.
    row : of the raw index; changed in place.
    content : the file's bytes; None where the row was rejected before.

    Raises
    ------
    DamagedError
        If the bytes are not those that were acquired.
    """
    picture = None if content is None else _decode(plan, row, content)
    if picture is None:
        return Draft(row)
    dataset, geometry = plan.dataset, plan.dataset.geometry
    if dataset.paired:
        if not check_halves(plan, row, picture):
            return Draft(row)
        _, picture = split_pair(picture, plan.drawing)
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
    picture = draft.picture
    if picture is None:
        return None
    assert edges is not None and plan.threshold is not None, "a plan with edges has both"
    edges = reduce_map(edges, *picture.shape[:2])
    drawing = clean_edges(edges, plan.threshold, plan.dataset.edges.min_pixels)
    drawing = centre(drawing, PAIR_SIZE, 255)
    picture = centre(picture, PAIR_SIZE, plan.dataset.geometry.colour)
    if not _check_density(plan, draft.row, drawing):
        return None
    return encode_png(join_pair(drawing, picture))


def take_pair(plan: PairPlan, row: Row, content: bytes | None) -> Row:
    """Make a file that is a pair already one of the pair set, where it lies, or reject its row.

    Parameters
    ----------
    plan : what to make.
    row : of the raw index; changed in place, and returned.
    content : the file's bytes; None where the row was rejected before.

    Raises
    ------
    DamagedError
        If the bytes are not those that were acquired.
    """
    image = None if content is None else _decode(plan, row, content)
    if content is None or image is None or not check_halves(plan, row, image):
        return row
    try:
        pair = decode_pair(content)
    except IntegrityError:
        pair = None
    # Training reads the file itself: what it would see must be what was looked at here.
    if (
        pair is None
        or pair.shape != image.shape
        or np.mean(cv2.absdiff(pair, image) > _FAR) > _MOST_FAR
    ):
        row.reject(
            Reason.NOT_A_PAIR,
            "training would read other pixels (it is transparent, CMYK or the like): save it as a "
            "plain RGB PNG or JPEG",
        )
        return row
    drawing, _ = split_pair(pair, plan.drawing)
    if _check_density(plan, row, drawing):
        row.status = "pair"
    return row


def _decode(plan: PairPlan, row: Row, content: bytes) -> Picture | None:
    """Return an acquired file's pixels and settle its split; None with its row rejected."""
    if row.sha256 != hashlib.sha256(content).hexdigest():
        raise DamagedError(
            f"{plan.raw_folder}/{keys.shard_name(row.shard)} is damaged at {row.source_path}. Run "
            "again to acquire it anew."
        )
    dataset = plan.dataset
    row.split = plan.split(row)
    try:
        return decode_picture(content, row.source_path, dataset.geometry.colour, dataset.max_pixels)
    except RejectedPicture as rejected:
        # Acquired with another decoder than this worker's.
        row.reject(rejected.reason, rejected.detail)
        return None


def _check_density(plan: PairPlan, row: Row, drawing: Picture) -> bool:
    """Note the share of lines in a drawing; reject the row where there are next to none."""
    least = plan.dataset.edges.min_density
    row.edge_density = edge_density(drawing)
    if row.edge_density < least:
        detail = f"{row.edge_density:.2%} line pixels, under {least:.2%}"
        row.reject(Reason.BLANK_EDGES, detail)
        return False
    return True
