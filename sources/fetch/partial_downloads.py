"""What a download leaves on the disk: the part and its trace, then the file and its receipt."""

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
    url : of the host that sent it, without query and user; empty where that is not known.
    size : bytes.
    sha256 : of the file (hex).
    etag, last_modified : the host's, where it gave them.
    """

    url: str
    size: int
    sha256: str
    etag: str | None = None
    last_modified: str | None = None


class _FinishedDownload(DownloadRecord, frozen=True):
    """A receipt, and how to tell that the file is still that one."""

    md5: str
    mtime_ns: int

    def matches(self, path: Path) -> bool:
        if not path.is_file():
            return False
        state = path.stat()
        return (state.st_size, state.st_mtime_ns) == (self.size, self.mtime_ns)


class PartialMetadata(BaseModel, frozen=True):
    """What the bytes of a part belong to.

    Attributes
    ----------
    asked, url : the address and where it led, both without query and user.
    etag, last_modified : of the answer that the part began with; none where several hosts gave it.
    total : bytes of the whole file, where the host told.
    """

    asked: str
    url: str
    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """What a host recognises these very bytes by; None where only a known hash can tell."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified if self.total is not None else None


class PartialDownload:
    """The bytes of ``target`` so far; whatever stops the process, they and the trace agree.

    Parameters
    ----------
    pinned : whether the whole has a known SHA-256: then any host may go on with what another began,
        as the hash tells in the end whether all was of the same file.

    Attributes
    ----------
    size : bytes so far.
    trace : what they belong to.
    gained : bytes that came since this object was made.
    """

    def __init__(self, target: Path, pinned: bool) -> None:
        self.target = target
        self._pinned = pinned
        self._path, self._sidecar = _part_paths(target)
        self.metadata: PartialMetadata | None = load_metadata(self._sidecar, PartialMetadata)
        self.size = self._path.stat().st_size if self.metadata and self._path.exists() else 0
        self.received_bytes = 0
        self._peak: int | None = None
        self._digests = (hashlib.sha256(), hashlib.md5(usedforsecurity=False))
        self._hashed = 0
        self._file: IO[bytes] | None = None

    @property
    def is_resumable(self) -> bool:
        """Whether there is something that a later run can resume."""
        trace = self.metadata
        if trace is None or not self.size:
            return False
        return trace.validator is not None or (self._pinned and trace.total is not None)

    def get_resume_point(self, requested_url: str, size: int | None) -> tuple[int, PartialMetadata | None]:
        """Return from which byte on to ask ``asked`` for the file, and the trace of what comes.

        That is the first byte, and none, where it has to be all.
        """
        trace = self.metadata
        if trace is None or not self.is_resumable:
            return 0, None
        if trace.asked != requested_url:
            if not self._pinned or trace.total is None:
                return 0, None
            # No single host vouches for bytes from several.
            trace = PartialMetadata(asked=requested_url, url=requested_url, total=trace.total)
        if trace.total is None:
            return self.size, trace
        if self.size > trace.total or size not in (None, trace.total):
            return 0, None
        # No host can send a range that begins at the end: the last byte confirms a whole part.
        return min(self.size, trace.total - 1), trace

    def hash_to(self, offset: int) -> None:
        """Bring the digests to the first ``offset`` bytes."""
        if self._hashed == offset:
            return
        self._digests = (hashlib.sha256(), hashlib.md5(usedforsecurity=False))
        self._hashed = 0
        if not offset:
            return
        with translate_errors(self._path), self._path.open("rb") as file:
            while piece := file.read(min(1 << 20, offset - self._hashed)):
                self._update_hashes(piece)

    @contextmanager
    def open(self, offset: int, metadata: PartialMetadata) -> Iterator[None]:
        """Open for writing after the first ``offset`` bytes; 0 drops what was there before."""
        if self._peak is None:
            self._peak = offset
        self.hash_to(offset)
        # Unbuffered, so that a failing write leaves exactly the bytes that are counted.
        with translate_errors(self._path):
            self._file = self._path.open("r+b" if offset else "wb", buffering=0)
        try:
            with translate_errors(self._path):
                self._file.truncate(offset)
                self._file.seek(offset)
            self.size = offset
            if metadata != self.metadata or not offset:
                # Only now: until here the old trace may belong to bytes that are still there.
                save_metadata(self._sidecar, metadata)
                self.metadata = metadata
            yield
        finally:
            self._file.close()
            self._file = None

    def write(self, data: bytes) -> None:
        """Append bytes."""
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
        """Let ``progressed`` count from where the next transfer begins."""
        self._peak = None

    def has_progressed(self, min_bytes: int) -> bool:
        """Tell whether so many bytes came beyond all there were; then count from here."""
        if self._peak is None or self.size - self._peak < max(min_bytes, 1):
            return False
        self._peak = self.size
        return True

    def hexdigests(self) -> tuple[str, str]:
        """Return SHA-256 and MD5 (hex) of all bytes."""
        self.hash_to(self.size)
        return self._digests[0].hexdigest(), self._digests[1].hexdigest()

    def delete(self) -> None:
        """Remove the part and its trace."""
        with translate_errors(self._path):
            self._path.unlink(missing_ok=True)
            self._sidecar.unlink(missing_ok=True)
        self.metadata = None
        self.size = 0

    def finish(self) -> DownloadRecord:
        """Write the receipt and turn the part into the file."""
        assert self.metadata is not None
        sha256, md5 = self.hexdigests()
        with translate_errors(self.target):
            fsync(self._path)
            # First, so that whatever stops the process, nothing whole is fetched again.
            receipt = _write_record(self.target, self._path, self.metadata, sha256, md5)
            _rename_to_target(self.target)
        return receipt

    def _update_hashes(self, piece: bytes) -> None:
        for digest in self._digests:
            digest.update(piece)
        self._hashed += len(piece)


def find_finished_download(
    target: Path, size: int | None, sha256: str | None, md5: str | None
) -> DownloadRecord | None:
    """Return a file's receipt if the file is whole and what is wanted; None to download it.

    A file without a receipt of its own is only trusted for its known hash.
    """
    with translate_errors(target):
        finished = load_metadata(_record_path(target), _FinishedDownload)
        if finished and finished.matches(_part_paths(target)[0]):
            # The process was stopped between receipt and name.
            _rename_to_target(target)
        if not target.is_file() or size not in (None, target.stat().st_size):
            return None
        if finished and finished.matches(target):
            if sha256 not in (None, finished.sha256) or md5 not in (None, finished.md5):
                return None
            return DownloadRecord.model_validate(finished.model_dump())
        if sha256 is None and md5 is None:
            return None
        found = _hash_file(target)
        if sha256 not in (None, found[0]) or md5 not in (None, found[1]):
            return None
        return _write_record(target, target, PartialMetadata(asked="", url=""), *found)


def _hash_file(path: Path) -> tuple[str, str]:
    digests = (hashlib.sha256(), hashlib.md5(usedforsecurity=False))
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            for digest in digests:
                digest.update(piece)
    return digests[0].hexdigest(), digests[1].hexdigest()


def _rename_to_target(target: Path) -> None:
    """Give a whole part the name of the file."""
    part, sidecar = _part_paths(target)
    part.replace(target)
    fsync(target.parent)
    sidecar.unlink(missing_ok=True)


def _write_record(
    target: Path, file: Path, metadata: PartialMetadata, sha256: str, md5: str
) -> DownloadRecord:
    state = file.stat()
    receipt = DownloadRecord(
        url=metadata.url,
        size=state.st_size,
        sha256=sha256,
        etag=metadata.etag,
        last_modified=metadata.last_modified,
    )
    finished = _FinishedDownload(**receipt.model_dump(), md5=md5, mtime_ns=state.st_mtime_ns)
    save_metadata(_record_path(target), finished)
    return receipt


def _record_path(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def _part_paths(target: Path) -> tuple[Path, Path]:
    """Return where the part lies, and its trace."""
    return target.with_name(target.name + ".part"), target.with_name(target.name + ".part.json")
