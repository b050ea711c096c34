"""Source files to raw shards and their index."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from config.dataset import DatasetConfig, KaggleSource, LocalSource
from config.errors import NotFoundError, SourceError
from sources.archives import Source, open_path
from sources.fetch.download import OnBytes, OnWait
from sources.fetch.kaggle import describe_credentials
from sources.fetch.remote import FetchedArchive, delete_if_corrupt, evict, fetch_archive
from sources.licenses import format_license_terms
from sources.raw_shards import OnProgress, write_raw_shards
from sources.selection import compare_counts, describe_selection, incomplete_error, select_files
from sources.tables import select_names
from storage import ObjectStore, keys
from storage.fingerprint import fingerprint
from storage.json_objects import write_json
from storage.manifest import ManifestRow, load_rows, reject_duplicates, rows_to_parquet
from storage.raw_sets import Origin, read_origin

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
    short : where fewer pictures were found than expected.
    warnings : all that is other than expected.
    """

    dataset: str
    fingerprint: str
    num_files: int
    num_shards: int
    rejected: dict[str, int]
    shortfalls: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def acquire(
    dataset: DatasetConfig,
    store: ObjectStore,
    allow_partial: bool = False,
    refetch: bool = False,
    on_fetch: OnBytes = lambda _done, _total: None,
    on_wait: OnWait = lambda _reason: None,
    on_bytes: OnProgress = lambda _: None,
    on_files: OnProgress = lambda _: None,
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
    anew : take what the host has now, also where it was acquired before. What is the same after
        all is not written again.
    on_fetch : called with the bytes fetched so far, and in all.
    on_wait : called with what the transfer waits for, and with nothing once that has ended.
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
    known = None if refetch else _find_existing(dataset, store)
    if known is not None and (allow_partial or not known.shortfalls):
        return known
    names, tables = _select_by_tables(dataset, on_fetch, on_wait, on_bytes)
    copy = _fetch_files(dataset, store, refetch, on_fetch, on_wait)
    with delete_if_corrupt(copy):
        source = open_path(copy.path, _max_files(dataset))
        identity = copy.sha256 or source.identity(on_bytes)
        raw = compute_raw_fingerprint(dataset, identity, tables)
        index = keys.raw_index(dataset.name, raw)
        origin = read_origin(store, keys.raw_origin(dataset.name, raw))
        rows = load_rows(store, index)
        if rows is None:
            rows, candidates = _fill_raw_set(dataset, store, raw, source, names, on_files)
            origin = Origin(
                source=dataset.origin,
                identity=identity,
                tables=tables,
                read_from=copy.read_from,
                size=copy.size,
                selection=describe_selection(dataset),
                candidates=candidates,
                license=format_license_terms(dataset),
                host_metadata=copy.host_metadata,
                acquired=f"{datetime.now(UTC):%Y-%m-%d}",
            )
            write_json(store, keys.raw_origin(dataset.name, raw), origin)
            store.put(index, rows_to_parquet(rows))
    made = _summarize(dataset, raw, rows, origin)
    refused = bool(made.shortfalls) and not allow_partial
    # What was fetched is remembered though it is short: it may yet be allowed, and then serves.
    if origin is not None and (copy.fetched or not refused):
        if copy.host_metadata:
            # The same files can come under another version or ETag.
            origin = origin.model_copy(update={"host_metadata": copy.host_metadata})
        _save_origin(dataset, store, origin)
    if refused:
        raise incomplete_error(dataset, list(made.shortfalls), refetch_advice=evict(copy))
    return made


def _fill_raw_set(
    dataset: DatasetConfig,
    store: ObjectStore,
    raw: str,
    source: Source,
    names: frozenset[str] | None,
    on_files: OnProgress,
) -> tuple[list[ManifestRow], int | None]:
    """Write all of a raw set but its index; return its rows, and how many could be chosen."""
    wanted = select_files(dataset, source, names)
    folder = keys.raw_folder(dataset.name, raw)
    files = (file for file in source.files() if wanted.matches(file.path))
    rows = write_raw_shards(dataset, store, folder, files, on_files)
    if not rows:
        where = "".join(
            f" and --where {name}={'/'.join(dataset.where[name])}" for name in dataset.where
        )
        raise SourceError(
            f"{dataset.archive or dataset.source.title} holds no file that fits "
            f"{', '.join(dataset.selection)}{where}. Check the path, and that it is the folder or "
            "archive as a whole."
        )
    # Parts hold what is known of their shard, so that a worker needs to read no more than one.
    for number in sorted(reject_duplicates(rows)):
        part = f"{folder}/{keys.part_name(number)}"
        store.put(part, rows_to_parquet(row for row in rows if row.shard == number))
    return rows, wanted.num_candidates


def read_raw(dataset: DatasetConfig, raw: str, store: ObjectStore) -> RawSet:
    """Return a raw set that is in the store; its source is not asked.

    Raises
    ------
    NotFoundError
        If it is not there, or not complete.
    """
    rows = load_rows(store, keys.raw_index(dataset.name, raw))
    if rows is None:
        raise NotFoundError(
            f"The pictures of {dataset.name} (raw set {raw}) are not in {store.url} any more. Run "
            f"`icanvas prepare {dataset.name}` to acquire them."
        )
    origin = read_origin(store, keys.raw_origin(dataset.name, raw))
    return _summarize(dataset, raw, rows, origin)


def check_local_inputs(dataset: DatasetConfig, store: ObjectStore) -> None:
    """Look at what the user has of a data set, to meet a slip early; nothing is fetched or read.

    Raises
    ------
    SourceError
        If a folder or archive is missing, or is neither, or credentials that are to be used make
        no sense.
    """
    paths = [dataset.archive, dataset.tables_archive]
    if isinstance(dataset.source, LocalSource) and dataset.archive is None:
        paths.append(dataset.source.path)
    for path in paths:
        if path is not None:
            open_path(Path(path))
    asks_kaggle = isinstance(dataset.source, KaggleSource) and dataset.archive is None
    if asks_kaggle and read_origin(store, keys.latest_origin(dataset.name)) is None:
        describe_credentials()


def compute_raw_fingerprint(
    dataset: DatasetConfig, identity: str, tables: str | None = None
) -> str:
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
    if dataset.limit is not None:
        facts["limit"] = dataset.limit
    if dataset.where:
        facts |= {
            "where": {key: sorted(dataset.where[key]) for key in dataset.where},
            "tables": tables,
        }
    return fingerprint(facts)


def _find_existing(dataset: DatasetConfig, store: ObjectStore) -> RawSet | None:
    """Return what was acquired from the network before; the host is not asked again."""
    source = dataset.source
    if isinstance(source, LocalSource) or dataset.archive or dataset.tables_archive:
        return None
    origin = read_origin(store, keys.latest_origin(dataset.name))
    if origin is None or origin.source != dataset.origin:
        return None
    if source.sha256 not in (None, origin.identity) or (dataset.where and not origin.tables):
        return None
    raw = compute_raw_fingerprint(dataset, origin.identity, origin.tables)
    rows = load_rows(store, keys.raw_index(dataset.name, raw))
    if rows is None:
        return None
    own = read_origin(store, keys.raw_origin(dataset.name, raw))
    return _summarize(dataset, raw, rows, own)


def _save_origin(dataset: DatasetConfig, store: ObjectStore, origin: Origin) -> None:
    """Let the set stand for its source, so that it is found without asking a host."""
    # The day that its files came is kept, whichever way they are given again.
    newest = read_origin(store, keys.latest_origin(dataset.name))
    tables = origin.tables
    if tables is None and newest is not None and newest.source == dataset.origin:
        tables = newest.tables
    kept = origin.model_copy(update={"source": dataset.origin, "tables": tables})
    if newest != kept:
        write_json(store, keys.latest_origin(dataset.name), kept)


def _fetch_files(
    dataset: DatasetConfig, store: ObjectStore, refetch: bool, on_fetch: OnBytes, on_wait: OnWait
) -> FetchedArchive:
    """Return the source's files; where its host refuses, name the copy that was given before."""
    to_give = f"run icanvas prepare {dataset.name} --archive PATH"
    try:
        return fetch_archive(
            dataset, dataset.source, dataset.archive, to_give, on_fetch, on_wait, refetch
        )
    except SourceError as error:
        given = read_origin(store, keys.latest_origin(dataset.name))
        if dataset.archive or given is None or not Path(given.read_from).exists():
            raise
        raise SourceError(f"{error} Last time it was {given.read_from}.") from None


def _max_files(dataset: DatasetConfig) -> int | None:
    return None if isinstance(dataset.source, LocalSource) else dataset.source.max_files


def _select_by_tables(
    dataset: DatasetConfig, on_fetch: OnBytes, on_wait: OnWait, on_bytes: OnProgress
) -> tuple[frozenset[str] | None, str | None]:
    """Return the names of the pictures that the tables choose, and the tables' identity."""
    if not dataset.where or dataset.tables is None:
        return None, None
    to_give = "run the same with --tables PATH"
    copy = fetch_archive(
        dataset, dataset.tables, dataset.tables_archive, to_give, on_fetch, on_wait
    )
    with delete_if_corrupt(copy):
        identity = copy.sha256 or open_path(copy.path).identity(on_bytes)
        return select_names(copy.path, dataset.where), identity


def _summarize(
    dataset: DatasetConfig, raw: str, rows: list[ManifestRow], origin: Origin | None
) -> RawSet:
    rejected = Counter(row.reason for row in rows if row.reason)
    short, over = compare_counts(dataset, rows, None if origin is None else origin.candidates)
    warnings = [*short, *over]
    known = None if isinstance(dataset.source, LocalSource) else dataset.source.sha256
    # A folder has no such hash.
    is_archive = dataset.archive is not None and Path(dataset.archive).is_file()
    if is_archive and known is not None and origin is not None and origin.identity != known:
        warnings.append(f"{dataset.archive} is not the archive that is known by its SHA-256")
    return RawSet(
        dataset.name,
        raw,
        len(rows),
        rows[-1].shard + 1,
        dict(rejected),
        tuple(short),
        tuple(warnings),
    )
