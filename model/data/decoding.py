"""Stored pairs as drawing and picture."""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from config.errors import DamagedError, IntegrityError
from postprocess import decode_pair, split_pair
from storage.pair_sets import StoredPairs


def decode_halves(
    stored: StoredPairs, key: str, offset: int, size: int, sha256: str | None, data: bytes
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return drawing (uint8 256×256) and picture (uint8 256×256×3) of a stored pair's bytes.

    Parameters
    ----------
    stored : its pair set.
    key, offset : of its shard, and where in that it begins.
    size, sha256 : as of ``StoredPairs.is_whole``.
    data : what was read there.

    Raises
    ------
    DamagedError
        If they are not as they were published.
    """
    if stored.is_whole(data, size, sha256):
        with suppress(IntegrityError):
            return split_pair(decode_pair(data), stored.drawing)
    raise DamagedError(
        f"{stored.store.location(key)} is damaged {offset} bytes from its start. Delete its folder "
        f"and run `icanvas prepare {stored.dataset}`."
    )
