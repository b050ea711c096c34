"""Where source files come from: one small protocol, one module a kind."""

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
        """Return a digest that is the same as long as the files are the same.

        ``progress`` is called with the number of bytes read since the last call.
        """
        ...

    def files(self) -> Iterator[SourceFile]:
        """Yield every regular file, in an order that depends on the source alone.

        A file's content must be read before the next file is asked for.
        """
        ...

    def names(self) -> Iterator[str]:
        """Yield the path of every file, in the order of ``files``, without reading them."""
        ...


def open_path(path: Path, max_files: int | None = None) -> Source:
    """Return a folder or an archive as a source.

    Parameters
    ----------
    path : of either.
    max_files : an archive with more files is refused; None for the usual limit.

    Raises
    ------
    SourceError
        If it is missing or is neither a folder nor an archive that can be read.
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
            f"{path} is a web page: the browser has saved what a host had to say. Look at it, and "
            "download the archive again."
        )
    found = "is empty" if not start else "is neither a folder nor a zip or tar archive"
    return f"{path} {found}. Give the archive as it was downloaded, or the folder of its files."
