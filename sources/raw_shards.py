"""Writing of raw shards: each selected file is inspected and stored unchanged."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from os import cpu_count
from pathlib import PurePosixPath

from config.dataset import DatasetConfig
from sources.archives import SourceFile
from sources.pictures import RejectedPicture, decode_picture, hash_pixels
from storage import ObjectStore, RejectReason, keys
from storage.manifest import ManifestRow, load_rows, rows_to_parquet
from storage.shards import ShardWriter
from storage.temporary_files import temporary_file

# A larger file is not read into memory.
_MAX_FILE_BYTES = 1 << 30

# Decoding a picture at the pixel limit takes about 2 GB of memory.
_NUM_DECODERS = min(4, cpu_count() or 1)

OnProgress = Callable[[int], None]


def write_raw_shards(
    dataset: DatasetConfig,
    store: ObjectStore,
    folder: str,
    files: Iterator[SourceFile],
    on_files: OnProgress,
) -> list[ManifestRow]:
    """Write the missing raw shards of a raw set.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set.
    store : ObjectStore
        Store to write to.
    folder : str
        Key of the raw set's folder.
    files : iterator of SourceFile
        Selected files in order.
    on_files : callable
        Called with the number of files written since the last call.

    Returns
    -------
    list of ManifestRow
        Rows of all shards, existing and new, in the order of the files.
    """
    rows: list[ManifestRow] = []
    with ThreadPoolExecutor(_NUM_DECODERS) as pool:
        for number, shard_files in enumerate(_group_into_shards(files, dataset.shard_size)):
            part = f"{folder}/{keys.part_name(number)}"
            existing_rows = load_rows(store, part)
            if existing_rows is not None:
                # The files of a tar stream have to be skipped one by one.
                done = sum(1 for _ in shard_files)
                rows += existing_rows
            else:
                new_rows = _write_shard(dataset, store, folder, number, shard_files, pool, on_files)
                done = 0
                store.put(part, rows_to_parquet(new_rows))
                rows += new_rows
            on_files(done)
    return rows


def _group_into_shards(files: Iterator[SourceFile], size: int) -> Iterator[Iterator[SourceFile]]:
    for first in files:
        yield _prepend(first, islice(files, size - 1))


def _prepend(first: SourceFile, others: Iterator[SourceFile]) -> Iterator[SourceFile]:
    yield first
    yield from others


def _write_shard(
    dataset: DatasetConfig,
    store: ObjectStore,
    folder: str,
    number: int,
    files: Iterator[SourceFile],
    pool: ThreadPoolExecutor,
    on_files: OnProgress,
) -> list[ManifestRow]:
    rows: list[ManifestRow] = []
    with temporary_file() as scratch:
        with ShardWriter(scratch) as shard:
            # Small batches limit memory: decoded in parallel, written in order.
            while batch := list(_read_contents(islice(files, 2 * _NUM_DECODERS))):
                start = number * dataset.shard_size + len(rows)
                inspected = pool.map(
                    lambda item: _inspect(dataset, number, *item),
                    ((start + i, file, content) for i, (file, content) in enumerate(batch)),
                )
                for row, (_, content) in zip(inspected, batch, strict=True):
                    if row.status == "accepted" and content is not None:
                        suffix = PurePosixPath(row.source_path).suffix.lower()
                        name = row.id + (suffix if suffix.isascii() and len(suffix) < 16 else "")
                        row.offset, row.size = shard.add(name, content), len(content)
                    rows.append(row)
                on_files(len(batch))
        store.put_file(f"{folder}/{keys.shard_name(number)}", scratch)
    return rows


def _read_contents(files: Iterator[SourceFile]) -> Iterator[tuple[SourceFile, bytes | None]]:
    for file in files:
        yield file, file.read() if file.size <= _MAX_FILE_BYTES else None


def _inspect(
    dataset: DatasetConfig, shard: int, number: int, file: SourceFile, content: bytes | None
) -> ManifestRow:
    row = ManifestRow(id=f"{number:08d}", source_path=file.path, shard=shard)
    if file.link is not None:
        row.reject(RejectReason.LINK, f"links to {file.link}")
        return row
    if file.special is not None:
        row.reject(RejectReason.NOT_A_PICTURE, file.special)
        return row
    if content is None:
        row.reject(RejectReason.TOO_LARGE, f"the file has {file.size / 2**30:.1f} GiB")
        return row
    row.sha256 = hashlib.sha256(content).hexdigest()
    try:
        picture = decode_picture(
            content, file.path, dataset.geometry.background_rgb, dataset.max_pixels
        )
    except RejectedPicture as error:
        if error.size:
            row.width, row.height = error.size
        row.reject(error.reason, error.detail)
        return row
    row.height, row.width = picture.shape[:2]
    row.pixel_hash = hash_pixels(picture)
    return row
