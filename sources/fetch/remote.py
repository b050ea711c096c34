"""Archives of remote sources: located on their hosts and downloaded into the cache."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from config.dataset import DatasetConfig, FigshareSource, HttpSource, LocalSource, RemoteSource
from config.errors import IntegrityError
from config.settings import get_settings
from sources.archives.archive import CorruptArchive
from sources.fetch import figshare, kaggle
from sources.fetch.download import OnBytes, OnWait, RemoteFile, RequestTarget, download


@dataclass(frozen=True)
class FetchedArchive:
    """The files of a source on this machine.

    Attributes
    ----------
    path : Path
        Folder or archive.
    read_from : str
        URL without its query, or path.
    sha256 : str or None
        SHA-256 (hex) of a downloaded archive; None if it is the user's own.
    size : int, bytes, or None
        Length of a downloaded archive.
    hash_known : bool
        Whether a hash was known before the download, so that another download gives the same.
    host_metadata : dict of str to str or int
        What the host states: license, version, size, title, ETag.
    """

    path: Path
    read_from: str
    sha256: str | None = None
    size: int | None = None
    hash_known: bool = False
    host_metadata: dict[str, str | int] = field(default_factory=dict)

    @property
    def fetched(self) -> bool:
        """Whether it was downloaded."""
        return self.sha256 is not None


def fetch_archive(
    dataset: DatasetConfig,
    source: RemoteSource | LocalSource,
    local_path: str | None,
    advice: str,
    on_bytes: OnBytes = lambda _done, _total: None,
    on_wait: OnWait = lambda _reason: None,
    refetch: bool = False,
) -> FetchedArchive:
    """Return the files of a source, downloaded into the cache if they are missing there.

    Parameters
    ----------
    dataset : DatasetConfig
        Data set of the source.
    source : LocalSource, HttpSource, KaggleSource or FigshareSource
        Source of its pictures or of its tables.
    local_path : str or None
        The user's copy, which replaces the source.
    advice : str
        How to give such a copy: a verb phrase that ends an error of the host.
    on_bytes : callable
        Called with the received bytes and the total bytes (None if unknown).
    on_wait : callable
        Called with what the download waits for, and with "" when data arrives.
    refetch : bool
        Download again, unless a hash is known.

    Returns
    -------
    FetchedArchive
        Folder or archive.

    Raises
    ------
    SourceError
        If a host refuses or cannot be reached; the message says what to do.
    IntegrityError
        If a transfer was interrupted, or size or hash of its bytes are wrong.
    StorageError
        If the cache cannot be written or is full.
    """
    if local_path is not None:
        return FetchedArchive(Path(local_path), local_path)
    if isinstance(source, LocalSource):
        return FetchedArchive(Path(source.path), source.path)
    settings = get_settings()
    page = source.page
    if isinstance(source, HttpSource) and dataset.homepage:
        page = f"{page} (homepage: {dataset.homepage})"
    advice = f"Or download {source.file_name} in a browser from {page} and {advice}."
    remote, host_metadata = resolve_remote(source, advice)
    hash_known = remote.sha256 is not None or remote.md5 is not None
    folder = settings.cache / "downloads" / dataset.name
    # The names of Kaggle's files contain the version.
    if refetch and isinstance(source, HttpSource) and not hash_known:
        (folder / remote.name).unlink(missing_ok=True)
    path, record = download(
        remote,
        folder,
        allow_http=settings.allow_http,
        on_bytes=on_bytes,
        on_wait=on_wait,
    )
    if isinstance(source, HttpSource):
        validators = {"ETag": record.etag, "Last-Modified": record.last_modified}
        host_metadata |= {name: value for name, value in validators.items() if value is not None}
    return FetchedArchive(path, record.url, record.sha256, record.size, hash_known, host_metadata)


@contextmanager
def delete_if_corrupt(archive: FetchedArchive) -> Iterator[None]:
    """Delete a downloaded archive that turns out to be corrupt within the block.

    Parameters
    ----------
    archive : FetchedArchive
        The archive that is read in the block.

    Raises
    ------
    IntegrityError
        If the archive is corrupt. The message says whether it was deleted.
    """
    try:
        yield
    except CorruptArchive as error:
        if not archive.fetched or not archive.path.exists():
            raise
        archive.path.unlink()
        raise IntegrityError(
            f"{error} {archive.read_from} sent it like this. It was deleted: run again to download "
            "it again."
        ) from error


def evict(archive: FetchedArchive) -> str:
    """Delete a downloaded archive with too few pictures, unless its hash was known.

    Parameters
    ----------
    archive : FetchedArchive
        The archive.

    Returns
    -------
    str
        Sentence for the error message; "" if the archive is kept.
    """
    if not archive.fetched or archive.hash_known:
        return ""
    archive.path.unlink(missing_ok=True)
    return "The host may have sent an incomplete archive: run again to download it again."


def resolve_remote(source: RemoteSource, advice: str) -> tuple[RemoteFile, dict[str, str | int]]:
    """Locate the archive of a source. The APIs of Kaggle and figshare are called.

    Parameters
    ----------
    source : HttpSource, KaggleSource or FigshareSource
        The source.
    advice : str
        Sentence on how else to get the archive, appended to errors.

    Returns
    -------
    remote : RemoteFile
        The archive.
    host_metadata : dict of str to str or int
        What the host states of it; empty for a web server.

    Raises
    ------
    SourceError
        If the host refuses or cannot be reached.
    """
    if isinstance(source, HttpSource):
        mirrors = tuple(partial(RequestTarget, url) for url in source.urls)
        # The same file name at another URL is another file.
        prefix = hashlib.sha256(source.urls[0].encode()).hexdigest()[:8]
        name = f"{prefix}-{urlsplit(source.urls[0]).path.rsplit('/', 1)[-1]}"
        hosts = frozenset(str(urlsplit(url).hostname) for url in source.urls)
        http_allowed_hosts = hosts if source.sha256 else frozenset()
        return RemoteFile(
            name,
            mirrors,
            source.size,
            source.sha256,
            http_allowed_hosts=http_allowed_hosts,
            advice=advice,
        ), {}
    if isinstance(source, FigshareSource):
        return figshare.find_archive(source, advice)
    return kaggle.find_archive(source, advice)
