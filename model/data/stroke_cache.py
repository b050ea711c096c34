"""The strokes of a pair set's drawings: traced once, and kept beside the pairs."""

import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from config.errors import DamagedError, NotFoundError
from model.data.decoding import decode_halves
from postprocess import Points, pack_strokes, trace_strokes, unpack_strokes
from storage import keys
from storage.manifest import Places, Row
from storage.pair_sets import StoredPairs, read_manifest
from storage.shard_reader import OpenShards

_CHECK = 4
# Of a drawing's strokes in bytes, by far.
_MOST = 16 << 20


class TracedStrokes:
    """The strokes of one split's drawings.

    What is kept is never needed: a drawing whose strokes are missing or damaged is traced again,
    with the same result. Each shard's strokes are one object: where those of each drawing begin
    (uint32, little-endian, one more than there are drawings), then those, each behind its CRC-32.

    Parameters
    ----------
    pairs : the pair set.
    shards : reads the objects.
    split, places : of all its pairs.
    """

    def __init__(self, pairs: StoredPairs, shards: OpenShards, split: str, places: Places) -> None:
        self._pairs, self._shards, self._split = pairs, shards, split
        self._counts = np.bincount(places.shards)
        self._heads: dict[int, NDArray[np.int64]] = {}

    def read(self, shard: int, number: int, drawing: NDArray[np.uint8]) -> list[Points]:
        """Return the strokes of a pair's drawing (uint8 256×256): float32 (P, 2) each.

        Parameters
        ----------
        shard, number : which pair, as ``Places`` has it.
        drawing : of that pair.
        """
        key = _key(self._pairs, self._split, shard)
        with suppress(NotFoundError, DamagedError, ValueError):
            start, end = self._head(key, shard)[number:][:2].tolist()
            if end - start > _MOST:
                raise ValueError("where strokes end is damaged")
            data = self._shards.read(key, start, end - start)
            if int.from_bytes(data[:_CHECK], "little") == zlib.crc32(data[_CHECK:]):
                return unpack_strokes(data[_CHECK:])
        return unpack_strokes(pack_strokes(trace_strokes(drawing)))

    def _head(self, key: str, shard: int) -> NDArray[np.int64]:
        if shard not in self._heads:
            size = 4 * (int(self._counts[shard]) + 1)
            head = np.frombuffer(self._shards.read(key, 0, size), "<u4").astype(np.int64)
            if head[0] != size or (np.diff(head) < _CHECK).any():
                raise ValueError("where strokes begin is damaged")
            self._heads[shard] = head
        return self._heads[shard]


def keep_strokes(
    pairs: StoredPairs,
    split: str,
    places: Places,
    on_drawing: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Trace the drawings of the shards whose strokes are not kept yet, on all cores.

    Parameters
    ----------
    pairs : the pair set.
    split, places : of all its pairs.
    on_drawing : called with (drawings done, drawings in all) after each shard; never where all
        are kept. What it raises ends the tracing; the shards until then are kept.

    Raises
    ------
    NotFoundError, IntegrityError, StorageError
        If a pair cannot be read.
    """
    missing = {_key(pairs, split, shard) for shard in np.unique(places.shards).tolist()}
    missing -= set(pairs.store.list(keys.strokes_folder(pairs.dataset, pairs.fingerprint)))
    if not missing:
        return
    shards: defaultdict[str, list[Row]] = defaultdict(list)
    for row in read_manifest(pairs.store, pairs.dataset, pairs.fingerprint):
        if row.status == "pair" and row.split == split:
            key = _key(pairs, split, row.shard)
            if key in missing:
                shards[key].append(row)
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


def _key(pairs: StoredPairs, split: str, shard: int) -> str:
    return keys.strokes(pairs.dataset, pairs.fingerprint, split, shard)


def _trace_shard(pairs: StoredPairs, rows: Sequence[Row]) -> bytes:
    parts = []
    for row, data in pairs.stream(rows):
        assert row.offset is not None and row.size is not None, "a pair has its place"
        key = pairs.key(row)
        drawing, _ = decode_halves(pairs, key, row.offset, row.size, row.sha256, data)
        packed = pack_strokes(trace_strokes(drawing))
        parts.append(zlib.crc32(packed).to_bytes(_CHECK, "little") + packed)
    starts = np.cumsum([4 * (len(parts) + 1), *map(len, parts)])
    return starts.astype("<u4").tobytes() + b"".join(parts)
