"""One file of a source, and its name and hash."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes
    ----------
    path : str
        Relative path with ``/``, in UTF-8; other bytes are escaped.
    size : int, bytes
        Length of the content.
    read : callable
        Returns the content as bytes.
    link : str or None
        Target of a link in an archive, which has no content; None for a file.
    special : str or None
        Description of a member that is neither file nor link, such as "a FIFO", which has no
        content; None for a file.
    """

    path: str
    size: int
    read: Callable[[], bytes]
    link: str | None = None
    special: str | None = None


def escape_name(path: str) -> str:
    r"""Escape the bytes of a file name that are not UTF-8.

    Parameters
    ----------
    path : str
        Name with surrogates for these bytes, as ``os.fsdecode`` returns it.

    Returns
    -------
    str
        Name that can be encoded in UTF-8.

    Examples
    --------
    >>> escape_name("a\udcff.png")
    'a\\xff.png'
    """
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def hash_file(path: Path, progress: Callable[[int], None]) -> str:
    """Compute the hash of a file.

    Parameters
    ----------
    path : Path
        The file.
    progress : callable
        Called with the number of bytes read since the last call.

    Returns
    -------
    str
        SHA-256 (hex).
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            progress(len(chunk))
    return digest.hexdigest()
