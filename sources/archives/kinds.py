"""Zip and tar archives, told apart by their content."""

import tarfile
import zipfile
from pathlib import Path
from typing import Literal

from sources.archives.archive import translate_errors
from sources.archives.tar import COMPRESSIONS, TarSource
from sources.archives.zip import ZipSource

__all__ = ["TarSource", "ZipSource", "detect_archive_kind"]


def detect_archive_kind(path: Path) -> Literal["zip", "tar"] | None:
    """Tell by its content what an existing file is; None for neither."""
    with translate_errors(path):
        with path.open("rb") as file:
            start = file.read(tarfile.BLOCKSIZE)
        # By its beginning, because a zip's end can stand at the end of anything, and because an
        # archive that was cut short is none to the libraries any more, but still meant to be one.
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return "zip"
        if start.startswith(tuple(COMPRESSIONS)) or path.suffix == ".tar" or _is_tar_header(start):
            return "tar"
        return "zip" if zipfile.is_zipfile(path) else None


def _is_tar_header(block: bytes) -> bool:
    # Not tarfile.is_tarfile: that reads as much as the first member asks for.
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True
