"""Common base of zip and tar archives."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from tarfile import TarError
from zipfile import BadZipFile

from config.errors import IntegrityError, SourceError
from sources.archives.limits import MAX_FILES
from sources.archives.source_file import SourceFile, hash_file


class Archive:
    """An archive that is read member by member and never unpacked to disk.

    Parameters
    ----------
    path : Path
        The archive.
    max_files : int, 1 or more
        An archive with more members is refused.
    """

    def __init__(self, path: Path, max_files: int = MAX_FILES) -> None:
        self._path = path
        self._max_files = max_files

    def identity(self, progress: Callable[[int], None]) -> str:
        """Compute the archive's SHA-256; see ``sources.archives.Source``."""
        with translate_errors(self._path):
            return hash_file(self._path, progress)

    def files(self) -> Iterator[SourceFile]:
        """Iterate over the files; see ``sources.archives.Source``.

        Links and special files are yielded too, without content.
        """
        raise NotImplementedError

    def names(self) -> Iterator[str]:
        """Iterate over the paths of the regular files; see ``sources.archives.Source``."""
        return (file.path for file in self.files() if file.link is None and file.special is None)


class CorruptMember(Exception):
    """A member or header that violates the archive's format."""


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Translate the exceptions of archive libraries into ``CorruptArchive`` or ``SourceError``.

    Parameters
    ----------
    path : Path
        The archive, for the message.

    Raises
    ------
    CorruptArchive
        If the archive is corrupt or truncated.
    SourceError
        If it cannot be read or uses an unsupported feature.
    """
    try:
        yield
    except (CorruptMember, BadZipFile, TarError, zlib.error, LZMAError, EOFError) as error:
        raise _corrupt_archive(path, error) from error
    except NotImplementedError as error:
        raise SourceError(f"{path}: {error}. Unpack it and give the folder.") from error
    except OSError as error:
        # gzip and bz2 raise OSError without errno for corrupt data; system errors have one.
        if error.errno is None:
            raise _corrupt_archive(path, error) from error
        raise SourceError(f"{path} cannot be read: {error}.") from error


class CorruptArchive(IntegrityError):
    """An archive whose bytes are corrupt or truncated."""


def _corrupt_archive(path: Path, error: Exception) -> CorruptArchive:
    return CorruptArchive(f"{path} is damaged or truncated ({error}). Copy or download it again.")
