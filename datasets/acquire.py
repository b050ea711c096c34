"""Source files to raw shards and their index."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from datasets.entry import DataSet, LocalSource
from datasets.raw import Advance, write_raw_shards
from datasets.selection import compare_counts, incomplete, select
from datasets.sources import open_path
from datasets.sources.remote import OnBytes, get_copy
from datasets.tables import find_names
from errors import SourceError
from storage import ObjectStore, keys
from storage.fingerprint import fingerprint
from storage.manifest import Row, mark_duplicates, read_rows, write_rows
from storage.rawsets import Origin, read_origin, write

RAW_FORMAT = 1


@dataclass(frozen=True)
class RawSet:
    """What was acquired, in short: tasks are handed this and read the rows from the store.

    Attributes
    ----------
    dataset, fingerprint : which set; ``storage.keys.raw_folder`` gives its place.
    files : rows of the index.
    shards : number of shards.
    rejected : how many files for each reason.
    warnings : what is other than expected.
    """

    dataset: str
    fingerprint: str
    files: int
    shards: int
    rejected: dict[str, int]
    warnings: tuple[str, ...] = ()


def acquire(
    dataset: DataSet,
    store: ObjectStore,
    allow_partial: bool = False,
    on_fetch: OnBytes = lambda _done, _total: None,
    on_bytes: Advance = lambda _: None,
    on_files: Advance = lambda _: None,
) -> RawSet:
    """Bring a data set's files into the store as raw shards, unchanged, each with an index row.

    The files are listed in the source's order and cut into shards. Every picture is decoded once
    to know that it can be. What is there already is not fetched or read again: a finished set is
    found by its fingerprint, an interrupted one goes on with its first missing shard.

    Parameters
    ----------
    dataset : which files.
    store : where they go.
    allow_partial : go on where fewer pictures are found than expected.
    on_fetch : called with the bytes fetched so far, and in all.
    on_bytes, on_files : called with the bytes hashed, and with the files done, since the last call.

    Raises
    ------
    InputError
        If pictures are chosen by a column or a value that the tables do not have.
    SourceError
        If the source is missing, refused or unreadable, nothing in it fits the selection, or fewer
        pictures than expected do.
    IntegrityError
        If a transfer was interrupted, an archive is damaged, or a file changed while it was read.
    StorageError
        If the store or the cache cannot be written.
    """
    known = _find_known(dataset, store)
    if known is not None:
        return known
    copy = get_copy(dataset, dataset.source, dataset.archive, "--archive", on_fetch)
    max_files = None if isinstance(dataset.source, LocalSource) else dataset.source.max_files
    source = open_path(copy.path, max_files)
    identity = copy.sha256 or source.identity(on_bytes)
    names, tables = _choose_by_tables(dataset, on_fetch, on_bytes)
    origin = Origin(
        source=dataset.origin,
        identity=identity,
        tables=tables,
        read_from=copy.read_from,
        size=copy.size,
        stated=copy.stated,
        acquired=f"{datetime.now(UTC):%Y-%m-%d}",
    )
    raw = name_raw(dataset, identity, tables)
    index = keys.raw_index(dataset.name, raw)
    if store.exists(index):
        rows = read_rows(store.get(index))
    else:
        folder = keys.raw_folder(dataset.name, raw)
        files = select(dataset, source, names, allow_partial)
        rows = write_raw_shards(dataset, store, folder, files, on_files)
        if not rows:
            raise SourceError(
                f"{copy.path} holds no file that fits {', '.join(dataset.selection)}. Check the "
                "path, and that it is the folder or archive as a whole."
            )
        short, _ = compare_counts(dataset, rows)
        if short and not allow_partial:
            raise incomplete(dataset, short)
        _mark_duplicates(store, folder, rows)
        write(store, keys.raw_origin(dataset.name, raw), origin)
        store.put(index, write_rows(rows))
    # The day that its files came is kept, whichever way they are given again.
    kept = read_origin(store, keys.raw_origin(dataset.name, raw)) or origin
    kept = kept.model_copy(update={"source": origin.source})
    if read_origin(store, keys.newest_origin(dataset.name)) != kept:
        write(store, keys.newest_origin(dataset.name), kept)
    return _summarise(dataset, raw, rows)


def check_own(dataset: DataSet) -> None:
    """Open what the user gives of a data set, to meet a slip early; nothing is fetched or read.

    Raises
    ------
    SourceError
        If a folder or archive is missing, or is neither.
    """
    paths = [dataset.archive, dataset.tables_archive]
    if isinstance(dataset.source, LocalSource) and dataset.archive is None:
        paths.append(dataset.source.path)
    for path in paths:
        if path is not None:
            open_path(Path(path))


def name_raw(dataset: DataSet, identity: str, tables: str | None = None) -> str:
    """Return the fingerprint of the raw set that a data set makes of files of this identity."""
    facts: dict[str, object] = {
        "format": RAW_FORMAT,
        "source": identity,
        "selection": list(dataset.selection),
        "background": dataset.geometry.background,
        "max_pixels": dataset.max_pixels,
        "shard_size": dataset.shard_size,
    }
    if dataset.choice is not None:
        facts["choice"] = dataset.choice.model_dump()
    if dataset.where:
        facts |= {
            "where": {key: sorted(dataset.where[key]) for key in dataset.where},
            "tables": tables,
        }
    return fingerprint(facts)


def _find_known(dataset: DataSet, store: ObjectStore) -> RawSet | None:
    """Return what was acquired from the network before; the host is not asked again."""
    if isinstance(dataset.source, LocalSource) or dataset.archive or dataset.tables_archive:
        return None
    origin = read_origin(store, keys.newest_origin(dataset.name))
    if origin is None or origin.source != dataset.origin or (dataset.where and not origin.tables):
        return None
    raw = name_raw(dataset, origin.identity, origin.tables)
    index = keys.raw_index(dataset.name, raw)
    if not store.exists(index):
        return None
    return _summarise(dataset, raw, read_rows(store.get(index)))


def _choose_by_tables(
    dataset: DataSet, on_fetch: OnBytes, on_bytes: Advance
) -> tuple[frozenset[str] | None, str | None]:
    """Return the names of the pictures that the tables choose, and the tables' identity."""
    if not dataset.where or dataset.tables is None:
        return None, None
    copy = get_copy(dataset, dataset.tables.source, dataset.tables_archive, "--tables", on_fetch)
    identity = copy.sha256 or open_path(copy.path).identity(on_bytes)
    return find_names(copy.path, dataset.where), identity


def _mark_duplicates(store: ObjectStore, folder: str, rows: list[Row]) -> None:
    # Parts hold what is known of their shard, so that a worker needs to read no more than one.
    for number in sorted(mark_duplicates(rows)):
        part = f"{folder}/{keys.part_name(number)}"
        store.put(part, write_rows(row for row in rows if row.shard == number))


def _summarise(dataset: DataSet, raw: str, rows: list[Row]) -> RawSet:
    rejected = Counter(row.reason for row in rows if row.reason)
    short, over = compare_counts(dataset, rows)
    return RawSet(
        dataset.name, raw, len(rows), rows[-1].shard + 1, dict(rejected), tuple(short + over)
    )
