"""Decoding of stored pairs, with a check of their integrity."""

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from config.errors import CorruptObjectError, IntegrityError
from postprocess import decode_pair, split_pair
from storage.pair_reader import PairReader


def decode_stored_pair(
    reader: PairReader, key: str, offset: int, size: int, sha256: str | None, data: bytes
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Decode the bytes of a stored pair.

    Parameters
    ----------
    reader : PairReader
        Its pair set.
    key : str
        Store key of its shard.
    offset : int
        Of the pair in the shard, in bytes.
    size : int
        Of the pair, in bytes.
    sha256 : str or None
        Of the pair, in hexadecimal digits, where known.
    data : bytes
        What was read at that offset.

    Returns
    -------
    tuple of ndarray
        Drawing, uint8 256×256, and picture, uint8 256×256×3 RGB.

    Raises
    ------
    CorruptObjectError
        If the bytes are not those that were published.
    """
    if reader.is_intact(data, size, sha256):
        with suppress(IntegrityError):
            return split_pair(decode_pair(data), reader.drawing_side)
    raise CorruptObjectError(
        f"{reader.store.location(key)} is damaged {offset} bytes from its start. Delete its folder "
        f"and run `icanvas prepare {reader.dataset}`."
    )
