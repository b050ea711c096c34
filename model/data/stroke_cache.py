"""Strokes of a pair set's drawings: traced once and cached in the store beside the pairs."""

import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from config.errors import CorruptObjectError, NotFoundError
from model.data.decoding import decode_stored_pair
from postprocess import Points, pack_strokes, trace_strokes, unpack_strokes
from storage import keys
from storage.manifest import ManifestRow, PairIndex
from storage.pair_reader import PairReader
from storage.pair_sets import read_manifest
from storage.shard_reader import ShardReader

_CRC_BYTES = 4
# Far more than the strokes of any drawing take.
_MAX_STROKES_BYTES = 16 << 20


class StrokeReader:
    """Reads the strokes of one split's drawings.

    A drawing whose cached strokes are missing or damaged is traced again, with the same result. The
    strokes of a shard are one object: the offsets of each drawing's strokes (uint32, little-endian,
    one more than there are drawings), followed by the strokes of each drawing, each after its
    CRC-32.

    Parameters
    ----------
    reader : PairReader
        The pair set.
    shard_reader : ShardReader
        Reads the objects.
    split : str
        ``train`` or ``val``.
    records : PairIndex
        All pairs of the split.
    """

    def __init__(
        self, reader: PairReader, shard_reader: ShardReader, split: str, records: PairIndex
    ) -> None:
        self._reader, self._shard_reader, self._split = reader, shard_reader, split
        self._counts = np.bincount(records.shards)
        self._offsets: dict[int, NDArray[np.int64]] = {}

    def read(self, shard: int, position: int, drawing: NDArray[np.uint8]) -> list[Points]:
        """Return the strokes of a pair's drawing.

        Parameters
        ----------
        shard : int
            Of the pair, as in ``PairIndex.shards``.
        position : int
            Of the pair in its shard, as in ``PairIndex.positions``.
        drawing : ndarray
            uint8 256×256, of that pair; traced where the cache has no strokes.

        Returns
        -------
        list of ndarray
            float32 (P, 2) each, x and y in pixels.
        """
        key = _strokes_key(self._reader, self._split, shard)
        with suppress(NotFoundError, CorruptObjectError, ValueError):
            start, end = self._read_offsets(key, shard)[position:][:2].tolist()
            if end - start > _MAX_STROKES_BYTES:
                raise ValueError("the cached offsets of strokes are damaged")
            data = self._shard_reader.read(key, start, end - start)
            if int.from_bytes(data[:_CRC_BYTES], "little") == zlib.crc32(data[_CRC_BYTES:]):
                return unpack_strokes(data[_CRC_BYTES:])
        return unpack_strokes(pack_strokes(trace_strokes(drawing)))

    def _read_offsets(self, key: str, shard: int) -> NDArray[np.int64]:
        if shard not in self._offsets:
            size = 4 * (int(self._counts[shard]) + 1)
            offsets = np.frombuffer(self._shard_reader.read(key, 0, size), "<u4").astype(np.int64)
            if offsets[0] != size or (np.diff(offsets) < _CRC_BYTES).any():
                raise ValueError("the cached offsets of strokes are damaged")
            self._offsets[shard] = offsets
        return self._offsets[shard]


def cache_strokes(
    reader: PairReader,
    split: str,
    records: PairIndex,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Trace the drawings of the shards whose strokes are not cached yet, on all cores.

    Parameters
    ----------
    reader : PairReader
        The pair set.
    split : str
        ``train`` or ``val``.
    records : PairIndex
        All pairs of the split.
    on_progress : callable
        Called with (drawings traced, drawings in total) after each shard; not called where all are
        cached. An exception from it ends the tracing; the shards done so far stay cached.

    Raises
    ------
    NotFoundError, IntegrityError, StorageError
        If a pair cannot be read.
    """
    missing = {_strokes_key(reader, split, shard) for shard in np.unique(records.shards).tolist()}
    missing -= set(reader.store.list_keys(keys.strokes_folder(reader.dataset, reader.fingerprint)))
    if not missing:
        return
    shards: defaultdict[str, list[ManifestRow]] = defaultdict(list)
    for row in read_manifest(reader.store, reader.dataset, reader.fingerprint):
        if row.status == "pair" and row.split == split:
            key = _strokes_key(reader, split, row.shard)
            if key in missing:
                shards[key].append(row)
    done, total = 0, sum(map(len, shards.values()))
    with ThreadPoolExecutor() as pool:
        traced = pool.map(lambda rows: _trace_shard(reader, rows), shards.values())
        try:
            for (key, rows), data in zip(shards.items(), traced, strict=True):
                reader.store.put(key, data)
                done += len(rows)
                on_progress(done, total)
        except BaseException:
            # Otherwise the end of the block would wait for the queued shards.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _strokes_key(reader: PairReader, split: str, shard: int) -> str:
    return keys.strokes(reader.dataset, reader.fingerprint, split, shard)


def _trace_shard(reader: PairReader, rows: Sequence[ManifestRow]) -> bytes:
    parts = []
    for row, data in reader.stream(rows):
        assert row.offset is not None and row.size is not None, "a pair has its place"
        key = reader.key(row)
        drawing, _ = decode_stored_pair(reader, key, row.offset, row.size, row.sha256, data)
        packed = pack_strokes(trace_strokes(drawing))
        parts.append(zlib.crc32(packed).to_bytes(_CRC_BYTES, "little") + packed)
    starts = np.cumsum([4 * (len(parts) + 1), *map(len, parts)])
    return starts.astype("<u4").tobytes() + b"".join(parts)
