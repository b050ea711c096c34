"""The strokes of a pair set's drawings: traced once, and kept beside the pairs."""

import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from errors import DamagedError, NotFoundError
from postprocess import (
    Points,
    decode_pair,
    pack_strokes,
    split_pair,
    trace_strokes,
    unpack_strokes,
)
from storage import keys
from storage.manifest import Row
from storage.pairsets import StoredPairs
from storage.shards import read_member

_CHECK = 4


class TracedStrokes:
    """The strokes of one split's drawings.

    What is kept is never needed: a drawing whose strokes are missing or damaged is traced again,
    with the same result. Each shard's strokes are one object: where those of each drawing begin
    (uint32, little-endian, one more than there are drawings), then those, each behind its CRC-32.

    Parameters
    ----------
    pairs : the pair set.
    rows : of all pairs of one split.
    """

    def __init__(self, pairs: StoredPairs, rows: Sequence[Row]) -> None:
        self._pairs = pairs
        self._numbers: dict[str, int] = {}
        self._counts: defaultdict[int, int] = defaultdict(int)
        for row in rows:
            self._numbers[row.id] = self._counts[row.shard]
            self._counts[row.shard] += 1
        self._heads: dict[int, NDArray[np.uint32]] = {}

    def read(self, row: Row, drawing: NDArray[np.uint8]) -> list[Points]:
        """Return the strokes of a pair's drawing (uint8 256×256): float32 (P, 2) each."""
        with suppress(NotFoundError, DamagedError, ValueError):
            start, end = self._head(row)[self._numbers[row.id] :][:2].tolist()
            data = read_member(self._pairs.store, _key(self._pairs, row), start, end - start)
            if int.from_bytes(data[:_CHECK], "little") == zlib.crc32(data[_CHECK:]):
                return unpack_strokes(data[_CHECK:])
        return unpack_strokes(pack_strokes(trace_strokes(drawing)))

    def _head(self, row: Row) -> NDArray[np.uint32]:
        if row.shard not in self._heads:
            size = 4 * (self._counts[row.shard] + 1)
            head = read_member(self._pairs.store, _key(self._pairs, row), 0, size)
            self._heads[row.shard] = np.frombuffer(head, "<u4")
        return self._heads[row.shard]


def keep_strokes(
    pairs: StoredPairs,
    rows: Sequence[Row],
    on_drawing: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Trace the drawings of the shards whose strokes are not kept yet, on all cores.

    Parameters
    ----------
    pairs : the pair set.
    rows : of all pairs of one split.
    on_drawing : called with (drawings done, drawings in all) after each shard; never where all
        are kept. What it raises ends the tracing; the shards until then are kept.

    Raises
    ------
    NotFoundError, IntegrityError, StorageError
        If a pair cannot be read.
    """
    shards: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        shards[_key(pairs, row)].append(row)
    for key in pairs.store.list(keys.strokes_folder(pairs.dataset, pairs.fingerprint)):
        shards.pop(key, None)
    done, total = 0, sum(map(len, shards.values()))
    with ThreadPoolExecutor() as pool:
        traced = pool.map(lambda rows: _trace_shard(pairs, rows), shards.values())
        try:
            for (key, of_one), data in zip(shards.items(), traced, strict=True):
                pairs.store.put(key, data)
                done += len(of_one)
                on_drawing(done, total)
        except BaseException:
            # What waits would be traced to the end of the block.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _key(pairs: StoredPairs, row: Row) -> str:
    return keys.strokes(pairs.dataset, pairs.fingerprint, row.split or "", row.shard)


def _trace_shard(pairs: StoredPairs, rows: Sequence[Row]) -> bytes:
    parts = []
    for _, pair in pairs.stream(rows):
        drawing, _ = split_pair(decode_pair(pair), pairs.drawing)
        packed = pack_strokes(trace_strokes(drawing))
        parts.append(zlib.crc32(packed).to_bytes(_CHECK, "little") + packed)
    starts = np.cumsum([4 * (len(parts) + 1), *map(len, parts)])
    return starts.astype("<u4").tobytes() + b"".join(parts)
