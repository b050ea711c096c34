"""The files of a download: partial file and its metadata, then the file and its record."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import BaseModel

from sources.fetch.disk import load_metadata, save_metadata, translate_errors
from storage.local import fsync


class DownloadRecord(BaseModel, frozen=True):
    """Where a finished file came from.

    Attributes
    ----------
    url : str
        URL of the host that sent it, without query and user; "" if unknown.
    size : int, bytes
        Length of the file.
    sha256 : str
        SHA-256 (hex) of the file.
    etag : str or None
        ETag of the response.
    last_modified : str or None
        Last-Modified of the response.
    """

    url: str
    size: int
    sha256: str
    etag: str | None = None
    last_modified: str | None = None


class _FinishedDownload(DownloadRecord, frozen=True):
    """A record, with the facts by which the file is recognized as unchanged."""

    md5: str
    mtime_ns: int

    def matches(self, path: Path) -> bool:
        if not path.is_file():
            return False
        stat = path.stat()
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.mtime_ns)


class PartialMetadata(BaseModel, frozen=True):
    """Which file the bytes of a partial download belong to. The field names are stored.

    Attributes
    ----------
    asked : str
        Requested URL, without query and user.
    url : str
        URL after redirects, without query and user.
    etag : str or None
        ETag of the first response; None if several hosts sent the bytes.
    last_modified : str or None
        Last-Modified of the first response; None if several hosts sent the bytes.
    total : int, bytes, or None
        Length of the complete file if the host stated it.
    """

    asked: str
    url: str
    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """Validator for If-Range; None if only a known hash can detect a changed file."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified if self.total is not None else None


class PartialDownload:
    """The received bytes of a file and their metadata, consistent whenever the process stops.

    Parameters
    ----------
    target : Path
        Path of the finished file; the partial file is beside it.
    pinned : bool
        Whether the file has a known SHA-256. Any host may then continue what another one began,
        because the hash detects a mixture of different files.

    Attributes
    ----------
    size : int, bytes
        Number of received bytes.
    metadata : PartialMetadata or None
        Metadata of the received bytes; None if there are none.
    received_bytes : int, bytes
        Number of bytes written through this object.
    """

    def __init__(self, target: Path, pinned: bool) -> None:
        self.target = target
        self._pinned = pinned
        self._path, self._sidecar = _partial_paths(target)
        self.metadata: PartialMetadata | None = load_metadata(self._sidecar, PartialMetadata)
        self.size = self._path.stat().st_size if self.metadata and self._path.exists() else 0
        self.received_bytes = 0
        self._peak: int | None = None
        self._digests = (hashlib.sha256(), hashlib.md5(usedforsecurity=False))
        self._hashed = 0
        self._file: IO[bytes] | None = None

    @property
    def is_resumable(self) -> bool:
        """Whether a later run can resume the download."""
        metadata = self.metadata
        if metadata is None or not self.size:
            return False
        return metadata.validator is not None or (self._pinned and metadata.total is not None)

    def get_resume_point(
        self, requested_url: str, size: int | None
    ) -> tuple[int, PartialMetadata | None]:
        """Return the first byte to request from a URL.

        Parameters
        ----------
        requested_url : str
            URL, without query and user.
        size : int, bytes, or None
            Known length of the file.

        Returns
        -------
        offset : int, bytes
            First byte; 0 for the whole file.
        metadata : PartialMetadata or None
            Metadata of the file after resumption; None for the whole file.
        """
        metadata = self.metadata
        if metadata is None or not self.is_resumable:
            return 0, None
        if metadata.asked != requested_url:
            if not self._pinned or metadata.total is None:
                return 0, None
            # The validators of one host do not apply to bytes from several.
            metadata = PartialMetadata(asked=requested_url, url=requested_url, total=metadata.total)
        if metadata.total is None:
            return self.size, metadata
        if self.size > metadata.total or size not in (None, metadata.total):
            return 0, None
        # A range cannot be empty: for a complete file the last byte is requested again.
        return min(self.size, metadata.total - 1), metadata

    def hash_to(self, offset: int) -> None:
        """Hash the first ``offset`` bytes.

        Parameters
        ----------
        offset : int, bytes
            Number of bytes.

        Raises
        ------
        StorageError
            If the partial file cannot be read.
        """
        if self._hashed == offset:
            return
        self._digests = (hashlib.sha256(), hashlib.md5(usedforsecurity=False))
        self._hashed = 0
        if not offset:
            return
        with translate_errors(self._path), self._path.open("rb") as file:
            while chunk := file.read(min(1 << 20, offset - self._hashed)):
                self._update_hashes(chunk)

    @contextmanager
    def open(self, offset: int, metadata: PartialMetadata) -> Iterator[None]:
        """Open the partial file for writing after its first ``offset`` bytes.

        Parameters
        ----------
        offset : int, bytes
            Number of bytes to keep; 0 discards the partial file.
        metadata : PartialMetadata
            Metadata of the bytes that are going to be written.

        Raises
        ------
        StorageError
            If the partial file or its metadata cannot be written.
        """
        if self._peak is None:
            self._peak = offset
        self.hash_to(offset)
        # Unbuffered, so that after a failed write ``size`` is the size of the file.
        with translate_errors(self._path):
            self._file = self._path.open("r+b" if offset else "wb", buffering=0)
        try:
            with translate_errors(self._path):
                self._file.truncate(offset)
                self._file.seek(offset)
            self.size = offset
            if metadata != self.metadata or not offset:
                # After the truncation: the old metadata belongs to the bytes before it.
                save_metadata(self._sidecar, metadata)
                self.metadata = metadata
            yield
        finally:
            self._file.close()
            self._file = None

    def write(self, data: bytes) -> None:
        """Append bytes to the open partial file.

        Parameters
        ----------
        data : bytes
            Bytes.

        Raises
        ------
        StorageError
            If they cannot be written, for example because the disk is full.
        """
        assert self._file is not None
        rest = data
        while rest:
            with translate_errors(self._path):
                count = self._file.write(rest)
            self._update_hashes(rest[:count])
            self.size += count
            self.received_bytes += count
            rest = rest[count:]

    def reset_progress(self) -> None:
        """Let ``has_progressed`` count from the start of the next transfer."""
        self._peak = None

    def has_progressed(self, min_bytes: int) -> bool:
        """Return whether the file has grown, and count from its new size if so.

        Parameters
        ----------
        min_bytes : int, bytes
            Growth beyond the largest size so far that counts as progress.

        Returns
        -------
        bool
            Whether it has grown by at least ``min_bytes``, and by at least one byte.
        """
        if self._peak is None or self.size - self._peak < max(min_bytes, 1):
            return False
        self._peak = self.size
        return True

    def hexdigests(self) -> tuple[str, str]:
        """Return the hashes of all received bytes.

        Returns
        -------
        sha256 : str
            SHA-256 (hex).
        md5 : str
            MD5 (hex).
        """
        self.hash_to(self.size)
        return self._digests[0].hexdigest(), self._digests[1].hexdigest()

    def delete(self) -> None:
        """Delete the partial file and its metadata.

        Raises
        ------
        StorageError
            If they cannot be deleted.
        """
        with translate_errors(self._path):
            self._path.unlink(missing_ok=True)
            self._sidecar.unlink(missing_ok=True)
        self.metadata = None
        self.size = 0

    def finish(self) -> DownloadRecord:
        """Write the record and rename the partial file to the target.

        Returns
        -------
        DownloadRecord
            The record.

        Raises
        ------
        StorageError
            If they cannot be written.
        """
        assert self.metadata is not None
        sha256, md5 = self.hexdigests()
        with translate_errors(self.target):
            fsync(self._path)
            # The record first: if the process stops here, the complete file is not fetched again.
            record = _write_record(self.target, self._path, self.metadata, sha256, md5)
            _rename_to_target(self.target)
        return record

    def _update_hashes(self, chunk: bytes) -> None:
        for digest in self._digests:
            digest.update(chunk)
        self._hashed += len(chunk)


def find_finished_download(
    target: Path, size: int | None, sha256: str | None, md5: str | None
) -> DownloadRecord | None:
    """Return the record of a file that is complete and has the expected size and hashes.

    A file without a record is accepted only for a known hash.

    Parameters
    ----------
    target : Path
        The file.
    size : int, bytes, or None
        Expected length.
    sha256 : str or None
        Expected SHA-256 (hex, lower case).
    md5 : str or None
        Expected MD5 (hex, lower case).

    Returns
    -------
    DownloadRecord or None
        None if the file has to be downloaded.

    Raises
    ------
    StorageError
        If the file or its record cannot be read or written.
    """
    with translate_errors(target):
        finished = load_metadata(_record_path(target), _FinishedDownload)
        if finished and finished.matches(_partial_paths(target)[0]):
            # The process was stopped between writing the record and renaming the file.
            _rename_to_target(target)
        if not target.is_file() or size not in (None, target.stat().st_size):
            return None
        if finished and finished.matches(target):
            if sha256 not in (None, finished.sha256) or md5 not in (None, finished.md5):
                return None
            return DownloadRecord.model_validate(finished.model_dump())
        if sha256 is None and md5 is None:
            return None
        digests = _hash_file(target)
        if sha256 not in (None, digests[0]) or md5 not in (None, digests[1]):
            return None
        return _write_record(target, target, PartialMetadata(asked="", url=""), *digests)


def _hash_file(path: Path) -> tuple[str, str]:
    digests = (hashlib.sha256(), hashlib.md5(usedforsecurity=False))
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            for digest in digests:
                digest.update(chunk)
    return digests[0].hexdigest(), digests[1].hexdigest()


def _rename_to_target(target: Path) -> None:
    """Rename a complete partial file to the target."""
    path, sidecar = _partial_paths(target)
    path.replace(target)
    fsync(target.parent)
    sidecar.unlink(missing_ok=True)


def _write_record(
    target: Path, file: Path, metadata: PartialMetadata, sha256: str, md5: str
) -> DownloadRecord:
    stat = file.stat()
    record = DownloadRecord(
        url=metadata.url,
        size=stat.st_size,
        sha256=sha256,
        etag=metadata.etag,
        last_modified=metadata.last_modified,
    )
    finished = _FinishedDownload(**record.model_dump(), md5=md5, mtime_ns=stat.st_mtime_ns)
    save_metadata(_record_path(target), finished)
    return record


def _record_path(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def _partial_paths(target: Path) -> tuple[Path, Path]:
    """Return the paths of the partial file and of its metadata."""
    return target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json")
