"""Converts a source file to a pair: the steps before and after the HED network."""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import CorruptObjectError, IntegrityError
from postprocess import (
    PAIR_SIZE,
    clean_edges,
    decode_pair,
    downscale_edges,
    edge_density,
    edge_resolution,
    encode_png,
    fit_picture,
    join_pair,
    pad_to_square,
    split_pair,
)
from sources import RejectedPicture, decode_picture
from storage import RejectReason, keys
from storage.manifest import ManifestRow
from tasks.drawing_side import check_pair_layout
from tasks.pair_set_plan import PairSetPlan

Picture = NDArray[np.uint8]

# JPEG decoders differ by a few gray levels, and by more next to saturated colors. At most this
# share of the values may differ by more than this number of levels.
_MAX_LEVEL_DIFF = 32
_MAX_DIFF_SHARE = 0.01


@dataclass(frozen=True)
class PairDraft:
    """A pair without its drawing, or a rejected file.

    Attributes
    ----------
    row : ManifestRow
        Row of the file.
    picture : ndarray of uint8, shape (h, w, 3), or None
        The picture, scaled to the size of the square but not padded; None if the row is rejected.
    hed_input : ndarray of uint8, shape (H, W, 3), or None
        The picture at the resolution for HED; None if the row is rejected.
    """

    row: ManifestRow
    picture: Picture | None = None
    hed_input: Picture | None = None


def prepare_pair(plan: PairSetPlan, row: ManifestRow, content: bytes | None) -> PairDraft:
    """Decode a file and fit its picture to the square, or reject its row.

    Parameters
    ----------
    plan : PairSetPlan
        The pair set.
    row : ManifestRow
        Row of the raw index; changed in place.
    content : bytes or None
        Content of the file; None if the row is rejected.

    Returns
    -------
    PairDraft
        The draft, without a picture if the row is rejected.

    Raises
    ------
    CorruptObjectError
        If the SHA-256 of the content differs from the row.
    """
    picture = None if content is None else _decode(plan, row, content)
    if picture is None:
        return PairDraft(row)
    dataset, geometry = plan.dataset, plan.dataset.geometry
    if dataset.paired:
        if not check_pair_layout(plan, row, picture):
            return PairDraft(row)
        _, picture = split_pair(picture, plan.drawing_side)
    height, width = picture.shape[:2]
    if min(height, width) < geometry.min_side:
        row.reject(RejectReason.TOO_SMALL, f"{width}×{height}, under {geometry.min_side} px")
        return PairDraft(row)
    if max(height, width) > geometry.max_aspect * min(height, width):
        row.reject(RejectReason.ASPECT, f"{width}×{height}, over {geometry.max_aspect:g}:1")
        return PairDraft(row)
    fitted = fit_picture(picture, PAIR_SIZE, geometry.mode, geometry.enlarge)
    side = edge_resolution(height, width, PAIR_SIZE, geometry.mode, dataset.edges.scale)
    hed_input = fitted if side == PAIR_SIZE else fit_picture(picture, side, geometry.mode)
    return PairDraft(row, fitted, hed_input=hed_input)


def assemble_pair(
    plan: PairSetPlan, draft: PairDraft, edges: NDArray[np.float32] | None
) -> bytes | None:
    """Encode the pair of a draft as PNG, or reject its row.

    Parameters
    ----------
    plan : PairSetPlan
        The pair set.
    draft : PairDraft
        Result of `prepare_pair`.
    edges : ndarray of float32, shape (H, W), or None
        Edge map of ``draft.hed_input``, in [0, 1]; None if the draft is rejected.

    Returns
    -------
    bytes or None
        A PNG of 512×256 pixels with the drawing on the left; None if the row is rejected.
    """
    picture = draft.picture
    if picture is None:
        return None
    assert edges is not None and plan.threshold is not None, "a plan with edges has both"
    edges = downscale_edges(edges, *picture.shape[:2])
    drawing = clean_edges(edges, plan.threshold, plan.dataset.edges.min_pixels)
    drawing = pad_to_square(drawing, PAIR_SIZE, 255)
    picture = pad_to_square(picture, PAIR_SIZE, plan.dataset.geometry.background_rgb)
    if not _check_density(plan, draft.row, drawing):
        return None
    return encode_png(join_pair(drawing, picture))


def accept_published_pair(
    plan: PairSetPlan, row: ManifestRow, content: bytes | None
) -> ManifestRow:
    """Check a published pair that is used unchanged, and set its row to a pair or rejected.

    Parameters
    ----------
    plan : PairSetPlan
        The pair set.
    row : ManifestRow
        Row of the raw index; changed in place.
    content : bytes or None
        Content of the file; None if the row is rejected.

    Returns
    -------
    ManifestRow
        The same object as `row`.

    Raises
    ------
    CorruptObjectError
        If the SHA-256 of the content differs from the row.
    """
    image = None if content is None else _decode(plan, row, content)
    if content is None or image is None or not check_pair_layout(plan, row, image):
        return row
    try:
        pair = decode_pair(content)
    except IntegrityError:
        pair = None
    # Training decodes the file with `decode_pair` and must get the pixels that are checked here.
    if (
        pair is None
        or pair.shape != image.shape
        or np.mean(cv2.absdiff(pair, image) > _MAX_LEVEL_DIFF) > _MAX_DIFF_SHARE
    ):
        row.reject(
            RejectReason.NOT_A_PAIR,
            "training would decode different pixels (the file is transparent, CMYK or similar): "
            "save it as a plain RGB PNG or JPEG",
        )
        return row
    drawing, _ = split_pair(pair, plan.drawing_side)
    if _check_density(plan, row, drawing):
        row.status = "pair"
    return row


def _decode(plan: PairSetPlan, row: ManifestRow, content: bytes) -> Picture | None:
    """Decode a file and set the split of its row. If that fails, reject the row; return None."""
    if row.sha256 != hashlib.sha256(content).hexdigest():
        raise CorruptObjectError(
            f"{plan.raw_folder}/{keys.shard_name(row.shard)} is corrupt at {row.source_path}. Run "
            "again to acquire it again."
        )
    dataset = plan.dataset
    row.split = plan.get_split(row)
    try:
        return decode_picture(
            content, row.source_path, dataset.geometry.background_rgb, dataset.max_pixels
        )
    except RejectedPicture as rejected:
        # The decoder of this machine differs from the one that accepted the file.
        row.reject(rejected.reason, rejected.detail)
        return None


def _check_density(plan: PairSetPlan, row: ManifestRow, drawing: Picture) -> bool:
    """Set the edge density of a row; reject the row if the drawing is nearly empty."""
    min_density = plan.dataset.edges.min_density
    row.edge_density = edge_density(drawing)
    if row.edge_density < min_density:
        detail = f"{row.edge_density:.2%} line pixels, under {min_density:.2%}"
        row.reject(RejectReason.BLANK_EDGES, detail)
        return False
    return True
