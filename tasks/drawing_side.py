"""Files that are pairs already: which half of them is the drawing."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from config.errors import DamagedError, IntegrityError, NotFoundError
from postprocess import PAIR_SIZE, Side, decode_pair, drawing_sides
from sources import RawSet, forget_if_damaged
from storage import ObjectStore, Reason, keys
from storage.manifest import Row, read_rows
from storage.shards import read_member
from tasks.pair_set_plan import PairPlan

# How many files vote, from how many shards, so that they are spread over the set.
_VOTERS = 64
_SHARDS = 16


def find_drawings(raw: RawSet, store: ObjectStore) -> Side:
    """Return the side that the drawings of a set of pairs are on.

    A single pair may not tell: a photo of a black shoe on white is much like a drawing. So some
    pairs of the set vote, always the same ones; without a majority it is the left.

    Parameters
    ----------
    raw : the set's files.
    store : holds them.

    Raises
    ------
    DamagedError
        If a shard is damaged or gone; then it counts as not acquired any more.
    """
    folder = keys.raw_folder(raw.dataset, raw.fingerprint)
    votes: Counter[Side] = Counter()
    shards = np.unique(np.linspace(0, raw.shards - 1, _SHARDS).round().astype(int)).tolist()
    for shard in shards:
        try:
            contents = _read_some(store, folder, shard, _VOTERS // len(shards))
        except (DamagedError, NotFoundError) as error:
            forget_if_damaged(store, raw.dataset, raw.fingerprint, shard)
            raise DamagedError(str(error)) from error
        for content in contents:
            try:
                sides = drawing_sides(decode_pair(content))
            except IntegrityError:
                # A format that training cannot read; it is rejected later on.
                continue
            if len(sides) == 1:
                votes.update(sides)
    return "right" if votes["right"] > votes["left"] else "left"


def _read_some(store: ObjectStore, folder: str, shard: int, count: int) -> list[bytes]:
    """Return the first files of a raw shard that can be pairs."""
    rows = read_rows(store.get(f"{folder}/{keys.part_name(shard)}"))
    places = [(row.offset, row.size) for row in rows if _has_two_squares(row)]
    return [
        read_member(store, f"{folder}/{keys.shard_name(shard)}", offset, size)
        for offset, size in places[:count]
        if offset is not None and size is not None
    ]


def check_halves(plan: PairPlan, row: Row, image: NDArray[np.uint8]) -> bool:
    """Tell whether a file (uint8 H×W×3) is a pair with the drawing where the set has it.

    If not, its row is rejected.
    """
    height, width = image.shape[:2]
    # Used as it is, it is not scaled: a drawing at another size has no lines of one pixel.
    if width != 2 * height or (not plan.dataset.re_extract and height != PAIR_SIZE):
        row.reject(
            Reason.NOT_A_PAIR,
            f"a pair is {2 * PAIR_SIZE}×{PAIR_SIZE}, this one {width}×{height}",
        )
        return False
    sides = drawing_sides(image)
    if plan.drawing in sides:
        return True
    if sides:
        found = f"the drawing is not on the {plan.drawing}, as in most of this set"
    else:
        found = f"the {plan.drawing} half is no drawing: not nearly grey and mostly white"
    row.reject(Reason.NOT_A_PAIR, found)
    return False


def _has_two_squares(row: Row) -> bool:
    return row.status == "accepted" and row.height is not None and row.width == 2 * row.height
