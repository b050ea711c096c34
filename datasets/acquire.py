"""Source files to raw shards and their index."""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from os import cpu_count
from pathlib import PurePosixPath

import pathspec

from datasets.catalogue import DataSet
from datasets.pictures import RejectedPicture, decode_picture, hash_pixels
from datasets.sources import Source, SourceFile, open_source
from errors import SourceError
from storage import ObjectStore, Reason, keys
from storage.fingerprint import fingerprint
from storage.manifest import Row, mark_duplicates, read_rows, write_rows
from storage.shards import ShardWriter

RAW_FORMAT = 1

# A single file beyond this is not read into memory.
_MAX_FILE_BYTES = 1 << 30

# A picture at the pixel limit takes some 2 GB while it is decoded: few at a time.
_DECODERS = min(4, cpu_count() or 1)

Advance = Callable[[int], None]


@dataclass(frozen=True)
class RawSet:
    """What was acquired, in short: tasks are handed this and read the rows from the store.

    Attributes
    ----------
    dataset, fingerprint : which set; ``storage.keys.raw_folder`` gives its place.
    files : rows of the index.
    shards : number of shards.
    rejected : how many files for each reason.
    """

    dataset: str
    fingerprint: str
    files: int
    shards: int
    rejected: dict[str, int]


def acquire(
    dataset: DataSet,
    store: ObjectStore,
    on_bytes: Advance = lambda _: None,
    on_files: Advance = lambda _: None,
) -> RawSet:
    """Bring a data set's files into the store as raw shards, unchanged, each with an index row.

    The files are listed in the source's order and cut into shards. Every picture is decoded once
    to know that it can be. What is there already is not read again: a finished set is found by
    its fingerprint, an interrupted one goes on with its first missing shard.

    Parameters
    ----------
    dataset : which files.
    store : where they go.
    on_bytes, on_files : called with the bytes hashed, and with the files done, since the last call.

    Raises
    ------
    SourceError
        If the source is missing or unreadable, nothing in it fits the selection, or fewer files
        than expected do.
    IntegrityError
        If an archive is damaged, or a file changed while it was read.
    StorageError
        If the store cannot be written.
    """
    source = open_source(dataset)
    raw = fingerprint(
        {
            "format": RAW_FORMAT,
            "source": source.identity(on_bytes),
            "selection": list(dataset.selection),
            "background": dataset.geometry.background,
            "max_pixels": dataset.max_pixels,
            "shard_size": dataset.shard_size,
        }
    )
    folder = keys.raw_folder(dataset.name, raw)
    index = keys.raw_index(dataset.name, raw)
    if store.exists(index):
        return _summarise(dataset, raw, read_rows(store.get(index)))

    rows: list[Row] = []
    with ThreadPoolExecutor(_DECODERS) as pool:
        for number, files in enumerate(_shards(_select(source, dataset), dataset.shard_size)):
            part = f"{folder}/{keys.part_name(number)}"
            if store.exists(part):
                # A tar stream must be passed over all the same.
                done = sum(1 for _ in files)
                rows += read_rows(store.get(part))
            else:
                made = _write_shard(dataset, store, folder, number, files, pool, on_files)
                done = 0
                store.put(part, write_rows(made))
                rows += made
            on_files(done)
    _check_count(dataset, len(rows))
    # Parts hold what is known of their shard, so that a worker needs to read no more than one.
    for number in sorted(mark_duplicates(rows)):
        part = f"{folder}/{keys.part_name(number)}"
        store.put(part, write_rows(row for row in rows if row.shard == number))
    store.put(index, write_rows(rows))
    return _summarise(dataset, raw, rows)


def _summarise(dataset: DataSet, raw: str, rows: list[Row]) -> RawSet:
    rejected = Counter(row.reason for row in rows if row.reason)
    return RawSet(dataset.name, raw, len(rows), rows[-1].shard + 1, dict(rejected))


def _select(source: Source, dataset: DataSet) -> Iterator[SourceFile]:
    wanted = pathspec.PathSpec.from_lines("gitignore", dataset.selection)
    return (file for file in source.files() if wanted.match_file(file.path))


def _shards(files: Iterator[SourceFile], size: int) -> Iterator[Iterator[SourceFile]]:
    for first in files:
        yield _with_first(first, islice(files, size - 1))


def _with_first(first: SourceFile, others: Iterator[SourceFile]) -> Iterator[SourceFile]:
    yield first
    yield from others


def _write_shard(
    dataset: DataSet,
    store: ObjectStore,
    folder: str,
    number: int,
    files: Iterator[SourceFile],
    pool: ThreadPoolExecutor,
    on_files: Advance,
) -> list[Row]:
    rows: list[Row] = []
    # Without a name, so that nothing stays behind a process that is killed.
    with tempfile.TemporaryFile() as scratch:
        with ShardWriter(scratch) as shard:
            # A few files at a time are held in memory: decoded by the pool, written in order.
            while batch := list(_read(islice(files, 2 * _DECODERS))):
                start = number * dataset.shard_size + len(rows)
                made = pool.map(
                    lambda item: _inspect(dataset, number, *item),
                    ((start + i, file, content) for i, (file, content) in enumerate(batch)),
                )
                for row, (_, content) in zip(made, batch, strict=True):
                    if row.status == "accepted" and content is not None:
                        suffix = PurePosixPath(row.source_path).suffix.lower()
                        name = row.id + (suffix if suffix.isascii() and len(suffix) < 16 else "")
                        row.offset, row.size = shard.add(name, content), len(content)
                    rows.append(row)
                on_files(len(batch))
        store.put_file(f"{folder}/{keys.shard_name(number)}", scratch)
    return rows


def _read(files: Iterator[SourceFile]) -> Iterator[tuple[SourceFile, bytes | None]]:
    for file in files:
        yield file, file.read() if file.size <= _MAX_FILE_BYTES else None


def _inspect(
    dataset: DataSet, shard: int, number: int, file: SourceFile, content: bytes | None
) -> Row:
    row = Row(id=f"{number:08d}", source_path=file.path, shard=shard)
    if file.link is not None:
        row.reject(Reason.LINK, f"links to {file.link}")
        return row
    if content is None:
        row.reject(Reason.TOO_LARGE, f"the file has {file.size / 2**30:.1f} GiB")
        return row
    row.sha256 = hashlib.sha256(content).hexdigest()
    try:
        picture = decode_picture(content, file.path, dataset.geometry.colour, dataset.max_pixels)
    except RejectedPicture as rejected:
        if rejected.size:
            row.width, row.height = rejected.size
        row.reject(rejected.reason, rejected.detail)
        return row
    row.height, row.width = picture.shape[:2]
    row.pixel_hash = hash_pixels(picture)
    return row


def _check_count(dataset: DataSet, count: int) -> None:
    where = dataset.source.path
    if count == 0:
        fits = "" if dataset.selection == ("**",) else f" that fits {', '.join(dataset.selection)}"
        raise SourceError(f"{where} holds no file{fits}. Check the path.")
    if dataset.expected is not None and count < dataset.expected:
        raise SourceError(
            f"{dataset.name}: {dataset.expected} files expected, {count} found in {where}. "
            "Restore the missing ones, or mend `expected` or `selection` in the catalogue."
        )
