"""One file of a source."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes
    ----------
    path : relative path with ``/``, in UTF-8; other bytes escaped.
    size : bytes.
    read : returns the content.
    link : what a link in an archive points at, whose content is elsewhere; None for a file.
    special : what a member of an archive is that is neither file nor link, as "a FIFO"; it is
        never read. None for a file.
    """

    path: str
    size: int
    read: Callable[[], bytes]
    link: str | None = None
    special: str | None = None


def escape_name(path: str) -> str:
    """Return a file name that any table can hold: bytes that are not UTF-8 become escapes."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def hash_file(path: Path, progress: Callable[[int], None]) -> str:
    """Return the SHA-256 (hex) of a file; ``progress`` gets the bytes of each piece read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            progress(len(piece))
    return digest.hexdigest()
