"""Detects which half of published pairs is the drawing, and rejects files that are not pairs."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from config.errors import CorruptObjectError, IntegrityError, NotFoundError
from postprocess import PAIR_SIZE, DrawingSide, decode_pair, detect_drawing_sides
from sources import RawSet, delete_corrupt_shard
from storage import ObjectStore, RejectReason, keys
from storage.manifest import ManifestRow, rows_from_parquet
from storage.shards import read_member
from tasks.pair_set_plan import PairSetPlan

# Number of sampled files, and of shards from which they are read.
_NUM_VOTES = 64
_NUM_SHARDS = 16


def detect_drawing_side(raw: RawSet, store: ObjectStore) -> DrawingSide:
    """Detect the side of the drawings in a set of published pairs.

    A single pair can be ambiguous: a photo of a black shoe on white resembles a drawing. The side
    is therefore the majority over up to 64 pairs. The sample is deterministic and evenly spaced
    over the shards.

    Parameters
    ----------
    raw : RawSet
        Raw set of the pairs.
    store : ObjectStore
        Store that contains the raw set.

    Returns
    -------
    {'left', 'right'}
        Side of the drawings; ``left`` without a majority.

    Raises
    ------
    CorruptObjectError
        If a shard is corrupt or missing. The shard is deleted, so the next run acquires it again.
    """
    folder = keys.raw_folder(raw.dataset, raw.fingerprint)
    votes: Counter[DrawingSide] = Counter()
    shards = np.unique(np.linspace(0, raw.num_shards - 1, _NUM_SHARDS).round().astype(int)).tolist()
    for shard in shards:
        try:
            contents = _read_candidates(store, folder, shard, _NUM_VOTES // len(shards))
        except (CorruptObjectError, NotFoundError) as error:
            delete_corrupt_shard(store, raw.dataset, raw.fingerprint, shard)
            raise CorruptObjectError(str(error)) from error
        for content in contents:
            try:
                sides = detect_drawing_sides(decode_pair(content))
            except IntegrityError:
                # Training cannot decode this format. Extraction rejects the file later.
                continue
            if len(sides) == 1:
                votes.update(sides)
    return "right" if votes["right"] > votes["left"] else "left"


def _read_candidates(store: ObjectStore, folder: str, shard: int, count: int) -> list[bytes]:
    """Read the first files of a raw shard that have the aspect ratio of a pair."""
    rows = rows_from_parquet(store.get(f"{folder}/{keys.part_name(shard)}"))
    ranges = [(row.offset, row.size) for row in rows if _has_pair_aspect(row)]
    return [
        read_member(store, f"{folder}/{keys.shard_name(shard)}", offset, size)
        for offset, size in ranges[:count]
        if offset is not None and size is not None
    ]


def check_pair_layout(plan: PairSetPlan, row: ManifestRow, image: NDArray[np.uint8]) -> bool:
    """Check that a file is a pair with its drawing on the side of the plan; otherwise reject it.

    Parameters
    ----------
    plan : PairSetPlan
        Plan that specifies the side.
    row : ManifestRow
        Row of the file. It is changed in place if the check fails.
    image : ndarray of uint8, shape (H, W, 3)
        Pixels of the file.

    Returns
    -------
    bool
        Whether the file passed the check.
    """
    height, width = image.shape[:2]
    # Published pairs are not scaled: scaling would blur lines that are one pixel wide.
    if width != 2 * height or (not plan.dataset.re_extract and height != PAIR_SIZE):
        row.reject(
            RejectReason.NOT_A_PAIR,
            f"a pair is {2 * PAIR_SIZE}×{PAIR_SIZE}, this file is {width}×{height}",
        )
        return False
    sides = detect_drawing_sides(image)
    if plan.drawing_side in sides:
        return True
    if sides:
        detail = f"the drawing is not on the {plan.drawing_side}, unlike in most pairs of this set"
    else:
        detail = (
            f"the {plan.drawing_side} half is not a drawing: it is not mostly white and nearly gray"
        )
    row.reject(RejectReason.NOT_A_PAIR, detail)
    return False


def _has_pair_aspect(row: ManifestRow) -> bool:
    return row.status == "accepted" and row.height is not None and row.width == 2 * row.height
