"""Detection of zip and tar archives by their content."""

import tarfile
import zipfile
from pathlib import Path
from typing import Literal

from sources.archives.archive import translate_errors
from sources.archives.tar import COMPRESSIONS, TarSource
from sources.archives.zip import ZipSource

__all__ = ["TarSource", "ZipSource", "detect_archive_kind"]


def detect_archive_kind(path: Path) -> Literal["zip", "tar"] | None:
    """Detect the kind of an archive by its content.

    Parameters
    ----------
    path : Path
        An existing file.

    Returns
    -------
    {"zip", "tar"} or None
        None if it is neither.

    Raises
    ------
    SourceError
        If the file cannot be read.
    """
    with translate_errors(path):
        with path.open("rb") as file:
            start = file.read(tarfile.BLOCKSIZE)
        # The beginning decides, because a zip's end record can be at the end of any file, and
        # because the libraries do not recognize a truncated archive.
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return "zip"
        if start.startswith(tuple(COMPRESSIONS)) or path.suffix == ".tar" or _is_tar_header(start):
            return "tar"
        return "zip" if zipfile.is_zipfile(path) else None


def _is_tar_header(block: bytes) -> bool:
    # Not tarfile.is_tarfile: it reads as many bytes as the first header declares.
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True
