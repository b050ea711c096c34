"""Import of a data set's source files into the store as raw shards with an index."""

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
    """Summary of a raw set. Tasks receive it and read the rows from the store.

    Attributes
    ----------
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint; ``storage.keys.raw_folder`` returns the folder.
    num_files : int
        Number of rows of the index.
    num_shards : int
        Number of raw shards.
    rejected : dict of str to int
        Number of rejected files by reason.
    shortfalls : tuple of str
        One phrase for each count that is lower than expected.
    warnings : tuple of str
        One phrase for each difference from what is expected, shortfalls included.
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
    """Copy a data set's files into the store as raw shards, unchanged, with one row per file.

    The files are listed in the source's order and grouped into shards. Every picture is decoded
    once to check it. Existing data is reused: a complete raw set is found by its fingerprint, and
    an interrupted one continues at its first missing shard.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set.
    store : ObjectStore
        Store to write to.
    allow_partial : bool
        Accept fewer pictures than expected.
    refetch : bool
        Download the source again even if it was acquired before. Unchanged files are not written
        again.
    on_fetch : callable
        Called with the downloaded bytes and the total bytes (None if unknown).
    on_wait : callable
        Called with the reason why the download waits, and with "" when it continues.
    on_bytes : callable
        Called with the number of bytes hashed since the last call.
    on_files : callable
        Called with the number of files written since the last call.

    Returns
    -------
    RawSet
        Summary of the raw set.

    Raises
    ------
    InputError
        If pictures are selected by a column or value that the tables do not have.
    SourceError
        If the source is missing, refused or unreadable, if no file matches the selection, or if
        fewer pictures than expected match.
    IntegrityError
        If a transfer was interrupted, an archive is corrupt, or a file changed while it was read.
    StorageError
        If the store or the cache cannot be written.
    """
    existing = None if refetch else _find_existing(dataset, store)
    if existing is not None and (allow_partial or not existing.shortfalls):
        return existing
    names, tables = _select_by_tables(dataset, on_fetch, on_wait, on_bytes)
    archive = _fetch_files(dataset, store, refetch, on_fetch, on_wait)
    with delete_if_corrupt(archive):
        source = open_path(archive.path, _max_files(dataset))
        identity = archive.sha256 or source.identity(on_bytes)
        raw = compute_raw_fingerprint(dataset, identity, tables)
        index = keys.raw_index(dataset.name, raw)
        origin = read_origin(store, keys.raw_origin(dataset.name, raw))
        rows = load_rows(store, index)
        if rows is None:
            rows, num_candidates = _fill_raw_set(dataset, store, raw, source, names, on_files)
            origin = Origin(
                source=dataset.origin,
                identity=identity,
                tables=tables,
                read_from=archive.read_from,
                size=archive.size,
                selection=describe_selection(dataset),
                candidates=num_candidates,
                license=format_license_terms(dataset),
                host_metadata=archive.host_metadata,
                acquired=f"{datetime.now(UTC):%Y-%m-%d}",
            )
            write_json(store, keys.raw_origin(dataset.name, raw), origin)
            store.put(index, rows_to_parquet(rows))
    raw_set = _summarize(dataset, raw, rows, origin)
    is_refused = bool(raw_set.shortfalls) and not allow_partial
    # The origin of an incomplete download is saved too: a later call may accept it as partial.
    if origin is not None and (archive.fetched or not is_refused):
        if archive.host_metadata:
            # The same files can have another version or ETag now.
            origin = origin.model_copy(update={"host_metadata": archive.host_metadata})
        _save_origin(dataset, store, origin)
    if is_refused:
        raise incomplete_error(dataset, list(raw_set.shortfalls), refetch_advice=evict(archive))
    return raw_set


def _fill_raw_set(
    dataset: DatasetConfig,
    store: ObjectStore,
    raw: str,
    source: Source,
    names: frozenset[str] | None,
    on_files: OnProgress,
) -> tuple[list[ManifestRow], int | None]:
    """Write a raw set except for its index; return its rows and the number of candidates."""
    selection = select_files(dataset, source, names)
    folder = keys.raw_folder(dataset.name, raw)
    files = (file for file in source.files() if selection.matches(file.path))
    rows = write_raw_shards(dataset, store, folder, files, on_files)
    if not rows:
        where = "".join(
            f" and --where {name}={'/'.join(dataset.where[name])}" for name in dataset.where
        )
        raise SourceError(
            f"{dataset.archive or dataset.source.title} holds no file that matches "
            f"{', '.join(dataset.selection)}{where}. Check the path, and that it is the complete "
            "folder or archive."
        )
    # Each part holds all rows of its shard, so that a worker reads one part only.
    for number in sorted(reject_duplicates(rows)):
        part = f"{folder}/{keys.part_name(number)}"
        store.put(part, rows_to_parquet(row for row in rows if row.shard == number))
    return rows, selection.num_candidates


def read_raw(dataset: DatasetConfig, raw: str, store: ObjectStore) -> RawSet:
    """Read the summary of a stored raw set. The source is not accessed.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set.
    raw : str
        Fingerprint of the raw set.
    store : ObjectStore
        Store to read from.

    Returns
    -------
    RawSet
        Summary of the raw set.

    Raises
    ------
    NotFoundError
        If the raw set is missing or incomplete.
    """
    rows = load_rows(store, keys.raw_index(dataset.name, raw))
    if rows is None:
        raise NotFoundError(
            f"The pictures of {dataset.name} (raw set {raw}) are no longer in {store.url}. Run "
            f"`icanvas prepare {dataset.name}` to acquire them."
        )
    origin = read_origin(store, keys.raw_origin(dataset.name, raw))
    return _summarize(dataset, raw, rows, origin)


def check_local_inputs(dataset: DatasetConfig, store: ObjectStore) -> None:
    """Check the user's files and credentials before a run. Nothing is downloaded.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set.
    store : ObjectStore
        Store that tells whether the data set was acquired before.

    Raises
    ------
    SourceError
        If a local path is missing or is neither a folder nor an archive, or if Kaggle credentials
        are needed and invalid.
    """
    paths = [dataset.archive, dataset.tables_archive]
    if isinstance(dataset.source, LocalSource) and dataset.archive is None:
        paths.append(dataset.source.path)
    for path in paths:
        if path is not None:
            open_path(Path(path))
    uses_kaggle = isinstance(dataset.source, KaggleSource) and dataset.archive is None
    if uses_kaggle and read_origin(store, keys.latest_origin(dataset.name)) is None:
        describe_credentials()


def compute_raw_fingerprint(
    dataset: DatasetConfig, identity: str, tables: str | None = None
) -> str:
    """Compute the fingerprint of a raw set.

    Parameters
    ----------
    dataset : DatasetConfig
        The data set; its selection and decoding settings are part of the fingerprint.
    identity : str
        Digest of the source.
    tables : str or None
        Digest of the tables that select pictures.

    Returns
    -------
    str
        Fingerprint, 12 hex digits.
    """
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
    """Return the raw set of an earlier download, if any, without a request to the host."""
    source = dataset.source
    if isinstance(source, LocalSource) or dataset.archive or dataset.tables_archive:
        return None
    latest = read_origin(store, keys.latest_origin(dataset.name))
    if latest is None or latest.source != dataset.origin:
        return None
    if source.sha256 not in (None, latest.identity) or (dataset.where and not latest.tables):
        return None
    raw = compute_raw_fingerprint(dataset, latest.identity, latest.tables)
    rows = load_rows(store, keys.raw_index(dataset.name, raw))
    if rows is None:
        return None
    origin = read_origin(store, keys.raw_origin(dataset.name, raw))
    return _summarize(dataset, raw, rows, origin)


def _save_origin(dataset: DatasetConfig, store: ObjectStore, origin: Origin) -> None:
    """Save the latest origin, by which the raw set is found without a request to the host."""
    # An unchanged origin is not written again, so that its date stays.
    latest = read_origin(store, keys.latest_origin(dataset.name))
    tables = origin.tables
    if tables is None and latest is not None and latest.source == dataset.origin:
        tables = latest.tables
    updated = origin.model_copy(update={"source": dataset.origin, "tables": tables})
    if latest != updated:
        write_json(store, keys.latest_origin(dataset.name), updated)


def _fetch_files(
    dataset: DatasetConfig, store: ObjectStore, refetch: bool, on_fetch: OnBytes, on_wait: OnWait
) -> FetchedArchive:
    """Return the source's files; if the host refuses, the error names the last local copy."""
    advice = f"run icanvas prepare {dataset.name} --archive PATH"
    try:
        return fetch_archive(
            dataset, dataset.source, dataset.archive, advice, on_fetch, on_wait, refetch
        )
    except SourceError as error:
        latest = read_origin(store, keys.latest_origin(dataset.name))
        if dataset.archive or latest is None or not Path(latest.read_from).exists():
            raise
        raise SourceError(f"{error} The last run used {latest.read_from}.") from None


def _max_files(dataset: DatasetConfig) -> int | None:
    return None if isinstance(dataset.source, LocalSource) else dataset.source.max_files


def _select_by_tables(
    dataset: DatasetConfig, on_fetch: OnBytes, on_wait: OnWait, on_bytes: OnProgress
) -> tuple[frozenset[str] | None, str | None]:
    """Return the names of the pictures that the tables select, and the tables' digest."""
    if not dataset.where or dataset.tables is None:
        return None, None
    advice = "run the same with --tables PATH"
    archive = fetch_archive(
        dataset, dataset.tables, dataset.tables_archive, advice, on_fetch, on_wait
    )
    with delete_if_corrupt(archive):
        identity = archive.sha256 or open_path(archive.path).identity(on_bytes)
        return select_names(archive.path, dataset.where), identity


def _summarize(
    dataset: DatasetConfig, raw: str, rows: list[ManifestRow], origin: Origin | None
) -> RawSet:
    rejected = Counter(row.reason for row in rows if row.reason)
    num_candidates = None if origin is None else origin.candidates
    shortfalls, excesses = compare_counts(dataset, rows, num_candidates)
    warnings = [*shortfalls, *excesses]
    sha256 = None if isinstance(dataset.source, LocalSource) else dataset.source.sha256
    # The digest of a folder cannot be compared with the hash of an archive.
    is_archive = dataset.archive is not None and Path(dataset.archive).is_file()
    if is_archive and sha256 is not None and origin is not None and origin.identity != sha256:
        warnings.append(f"{dataset.archive} does not have the SHA-256 of the catalogue's archive")
    return RawSet(
        dataset.name,
        raw,
        len(rows),
        rows[-1].shard + 1,
        dict(rejected),
        tuple(shortfalls),
        tuple(warnings),
    )
