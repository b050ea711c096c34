"""Stored pairs as drawing and picture."""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from config.errors import CorruptObjectError, IntegrityError
from postprocess import decode_pair, split_pair
from storage.pair_sets import PairReader


def decode_stored_pair(
    reader: PairReader, key: str, offset: int, size: int, sha256: str | None, data: bytes
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return drawing (uint8 256×256) and picture (uint8 256×256×3) of a stored pair's bytes.

    Parameters
    ----------
    stored : its pair set.
    key, offset : of its shard, and where in that it begins.
    size, sha256 : as of ``PairReader.is_intact``.
    data : what was read there.

    Raises
    ------
    CorruptObjectError
        If they are not as they were published.
    """
    if reader.is_intact(data, size, sha256):
        with suppress(IntegrityError):
            return split_pair(decode_pair(data), reader.drawing_side)
    raise CorruptObjectError(
        f"{reader.store.location(key)} is damaged {offset} bytes from its start. Delete its folder "
        f"and run `icanvas prepare {reader.dataset}`."
    )
