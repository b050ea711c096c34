"""Archives from the network: found, fetched into the cache once, read from there."""

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
from sources.fetch.download import RequestTarget, OnBytes, OnWait, RemoteFile, download


@dataclass(frozen=True)
class FetchedArchive:
    """A data set's files on this machine.

    Attributes
    ----------
    path : folder or archive.
    read_from : address without its query, or the path.
    sha256 : of the archive (hex); None where it was not fetched, but given.
    size : of the archive in bytes; None where it was not fetched.
    certain : whether a hash was known beforehand, so that fetching it again gives the same.
    stated : what the host says of it.
    """

    path: Path
    read_from: str
    sha256: str | None = None
    size: int | None = None
    hash_known: bool = False
    host_metadata: dict[str, str | int] = field(default_factory=dict)

    @property
    def fetched(self) -> bool:
        """Whether it came from the network."""
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
    """Return a source's files, fetching them into the cache where they are not.

    Parameters
    ----------
    dataset : whose they are.
    source : of its pictures, or of its tables.
    own : the user's copy, which is used in place of the source.
    to_give : how the user gives such a copy: ends the advice where a host refuses.
    on_bytes : called with the bytes so far and in all.
    on_wait : called with what is waited for, and with nothing once that has ended.
    anew : fetch it again, unless a hash was known beforehand.

    Raises
    ------
    SourceError
        If a host refuses or cannot be reached; the message says what to do.
    IntegrityError
        If a transfer was interrupted, or its bytes are not those that were expected.
    StorageError
        If the cache cannot be written, or is full.
    """
    if local_path is not None:
        return FetchedArchive(Path(local_path), local_path)
    if isinstance(source, LocalSource):
        return FetchedArchive(Path(source.path), source.path)
    settings = get_settings()
    page = source.page
    if isinstance(source, HttpSource) and dataset.homepage:
        page = f"{page} (its home page is {dataset.homepage})"
    advice = f"Or fetch {source.file_name} in a browser from {page} and {advice}."
    remote, stated = resolve_remote(source, advice)
    certain = remote.sha256 is not None or remote.md5 is not None
    folder = settings.cache / "downloads" / dataset.name
    # Kaggle's files are named by their version.
    if refetch and isinstance(source, HttpSource) and not certain:
        (folder / remote.name).unlink(missing_ok=True)
    path, receipt = download(
        remote,
        folder,
        allow_http=settings.allow_http,
        on_bytes=on_bytes,
        on_wait=on_wait,
    )
    if isinstance(source, HttpSource):
        known = {"ETag": receipt.etag, "Last-Modified": receipt.last_modified}
        stated |= {name: value for name, value in known.items() if value is not None}
    return FetchedArchive(path, receipt.url, receipt.sha256, receipt.size, certain, stated)


@contextmanager
def delete_if_corrupt(archive: FetchedArchive) -> Iterator[None]:
    """Remove a fetched archive that turns out to be damaged, so that it is fetched anew.

    Raises
    ------
    IntegrityError
        If it does; the text says what was done.
    """
    try:
        yield
    except CorruptArchive as error:
        if not archive.fetched or not archive.path.exists():
            raise
        archive.path.unlink()
        raise IntegrityError(
            f"{error} It came so from {archive.read_from}, and is removed: run again to fetch it anew."
        ) from error


def evict(archive: FetchedArchive) -> str:
    """Remove a fetched archive that was sound, but is not all, unless its hash was known.

    Returns a sentence for a person that says so; nothing where it is kept.
    """
    if not archive.fetched or archive.hash_known:
        return ""
    archive.path.unlink(missing_ok=True)
    return "It may be that the host sent too little: run again to fetch it anew."


def resolve_remote(source: RemoteSource, advice: str) -> tuple[RemoteFile, dict[str, str | int]]:
    """Return a source's archive, and what its host states of it; Kaggle and figshare are asked.

    Raises
    ------
    SourceError
        If the host refuses or cannot be reached; ends with the advice.
    """
    if isinstance(source, HttpSource):
        mirrors = tuple(partial(RequestTarget, url) for url in source.urls)
        # The same name at another address is another file.
        place = hashlib.sha256(source.urls[0].encode()).hexdigest()[:8]
        name = f"{place}-{urlsplit(source.urls[0]).path.rsplit('/', 1)[-1]}"
        listed = frozenset(str(urlsplit(url).hostname) for url in source.urls)
        plain = listed if source.sha256 else frozenset()
        return RemoteFile(
            name, mirrors, source.size, source.sha256, http_allowed_hosts=plain, advice=advice
        ), {}
    if isinstance(source, FigshareSource):
        return figshare.find_archive(source, advice)
    return kaggle.find_archive(source, advice)
