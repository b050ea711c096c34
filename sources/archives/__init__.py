"""Source files in a folder, zip or tar archive, behind one protocol."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from config.errors import SourceError
from sources.archives.folder import FolderSource
from sources.archives.kinds import TarSource, ZipSource, detect_archive_kind
from sources.archives.source_file import SourceFile

__all__ = ["Source", "SourceFile", "open_path"]


class Source(Protocol):
    """Files in a fixed order."""

    def identity(self, progress: Callable[[int], None]) -> str:
        """Compute a digest of all files.

        Parameters
        ----------
        progress : callable
            Called with the number of bytes read since the last call.

        Returns
        -------
        str
            SHA-256 (hex).
        """
        ...

    def files(self) -> Iterator[SourceFile]:
        """Iterate over the files, in an order that depends on the source only.

        Yields
        ------
        SourceFile
            File whose content has to be read before the next file is requested.
        """
        ...

    def names(self) -> Iterator[str]:
        """Iterate over the paths of the regular files, without reading their contents.

        Yields
        ------
        str
            Paths in the order of ``files``.
        """
        ...


def open_path(path: Path, max_files: int | None = None) -> Source:
    """Open a folder or an archive as a source.

    Parameters
    ----------
    path : Path
        Folder, or zip or tar archive.
    max_files : int, 1 or more, or None
        An archive with more members is refused; None for the default limit.

    Returns
    -------
    Source
        The source.

    Raises
    ------
    SourceError
        If the path is missing, or is neither a folder nor a readable archive.
    """
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise SourceError(f"{path} does not exist. Check the path.")
    kind = detect_archive_kind(path)
    if kind is None:
        raise SourceError(_describe_unknown_file(path))
    archive = ZipSource if kind == "zip" else TarSource
    return archive(path) if max_files is None else archive(path, max_files=max_files)


def _describe_unknown_file(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return (
            f"{path} is a web page: the browser has saved a message of the host instead of the "
            "archive. Read it, and download the archive again."
        )
    problem = "is empty" if not start else "is neither a folder nor a zip or tar archive"
    return f"{path} {problem}. Give the archive as it was downloaded, or the folder of its files."
