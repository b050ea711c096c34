"""What zips and tars have in common."""

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
    """An archive that is read member by member and never unpacked: no name is ever a path.

    Parameters
    ----------
    path : of the archive.
    max_files : one with more members is refused.
    """

    def __init__(self, path: Path, max_files: int = MAX_FILES) -> None:
        self._path = path
        self._max_files = max_files

    def identity(self, progress: Callable[[int], None]) -> str:
        """Return the archive's SHA-256; see ``sources.archives.Source``."""
        with translate_errors(self._path):
            return hash_file(self._path, progress)

    def files(self) -> Iterator[SourceFile]:
        """Yield the files; see ``sources.archives.Source``.

        Links, devices and the like come too, as files without content that say what they are.
        """
        raise NotImplementedError

    def names(self) -> Iterator[str]:
        """Yield the paths of the regular files; see ``sources.archives.Source``."""
        return (file.path for file in self.files() if file.link is None and file.special is None)


class CorruptMember(Exception):
    """An archive that is not as its format wants it."""


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turn what a damaged archive raises into one clear error."""
    try:
        yield
    except (CorruptMember, BadZipFile, TarError, zlib.error, LZMAError, EOFError) as error:
        raise _corrupt_archive(path, error) from error
    except NotImplementedError as error:
        raise SourceError(f"{path}: {error}. Unpack it and give the folder.") from error
    except OSError as error:
        # gzip and bz2 tell of damaged data so, but the system's errors have a number.
        if error.errno is None:
            raise _corrupt_archive(path, error) from error
        raise SourceError(f"{path} cannot be read: {error}.") from error


class CorruptArchive(IntegrityError):
    """An archive that is not as it was made."""


def _corrupt_archive(path: Path, error: Exception) -> CorruptArchive:
    return CorruptArchive(f"{path} is damaged or cut short ({error}). Copy or download it again.")
