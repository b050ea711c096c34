"""Published pairs: detects which half is the drawing, and rejects files that are no pairs."""

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

# Number of files that vote, and of shards that they are read from.
_NUM_VOTES = 64
_NUM_SHARDS = 16


def detect_drawing_side(raw: RawSet, store: ObjectStore) -> DrawingSide:
    """Return the side that holds the drawings of a set of published pairs.

    A single pair can be ambiguous: a photo of a black shoe on white looks much like a drawing. So
    up to 64 pairs, evenly spaced over the shards and always the same ones, vote.

    Parameters
    ----------
    raw : RawSet
        Raw set of the pairs.
    store : ObjectStore
        Holds the raw set.

    Returns
    -------
    {'left', 'right'}
        ``left`` if there is no majority.

    Raises
    ------
    CorruptObjectError
        If a shard is corrupt or missing. It then counts as not acquired.
    """
    folder = keys.raw_folder(raw.dataset, raw.fingerprint)
    votes: Counter[DrawingSide] = Counter()
    shards = np.unique(np.linspace(0, raw.shards - 1, _NUM_SHARDS).round().astype(int)).tolist()
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
                # Training cannot read this format; extraction rejects the file later.
                continue
            if len(sides) == 1:
                votes.update(sides)
    return "right" if votes["right"] > votes["left"] else "left"


def _read_candidates(store: ObjectStore, folder: str, shard: int, count: int) -> list[bytes]:
    """Return the content of the first files of a raw shard that have the aspect of a pair."""
    rows = rows_from_parquet(store.get(f"{folder}/{keys.part_name(shard)}"))
    ranges = [(row.offset, row.size) for row in rows if _has_pair_aspect(row)]
    return [
        read_member(store, f"{folder}/{keys.shard_name(shard)}", offset, size)
        for offset, size in ranges[:count]
        if offset is not None and size is not None
    ]


def check_pair_layout(plan: PairSetPlan, row: ManifestRow, image: NDArray[np.uint8]) -> bool:
    """Check that a file is a pair whose drawing is on the side of the plan; reject its row if not.

    Parameters
    ----------
    plan : PairSetPlan
        Names the side.
    row : ManifestRow
        Row of the file. It is rejected in place if the check fails.
    image : ndarray of uint8, shape (H, W, 3)
        Pixels of the file.

    Returns
    -------
    bool
        Whether the file is such a pair.
    """
    height, width = image.shape[:2]
    # Published pairs are not scaled: scaled drawings would not have lines of one pixel.
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
        detail = f"the drawing is not on the {plan.drawing_side}, where most of this set have it"
    else:
        detail = (
            f"the {plan.drawing_side} half is no drawing: it is not mostly white and nearly gray"
        )
    row.reject(RejectReason.NOT_A_PAIR, detail)
    return False


def _has_pair_aspect(row: ManifestRow) -> bool:
    return row.status == "accepted" and row.height is not None and row.width == 2 * row.height
