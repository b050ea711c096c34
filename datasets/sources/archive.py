"""Zip and tar archives, read member by member and never unpacked, so no name is ever a path."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from lzma import LZMAError
from pathlib import Path
from typing import IO, Literal

from datasets.sources.file import SourceFile, hash_file, printable
from errors import IntegrityError, SourceError


def archive_kind(path: Path) -> Literal["zip", "tar"] | None:
    """Tell by its content what an existing file is; None for neither."""
    with _explained(path):
        if zipfile.is_zipfile(path):
            return "zip"
        try:
            # is_tarfile() would read a cut archive's error as "not a tar".
            with tarfile.open(path, "r|*"):
                return "tar"
        except tarfile.ReadError:
            with path.open("rb") as file:
                start = file.read(4)
            return "zip" if start == b"PK\x03\x04" else None


class ZipSource:
    """The regular files of a zip, in the archive's order."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def identity(self, progress: Callable[[int], None]) -> str:
        """Return the archive's SHA-256; see ``datasets.sources.Source``."""
        with _explained(self._path):
            return hash_file(self._path, progress)

    def files(self) -> Iterator[SourceFile]:
        """Yield the files; see ``datasets.sources.Source``."""
        with _explained(self._path), zipfile.ZipFile(self._path) as archive:
            for member in archive.infolist():
                if member.is_dir():
                    continue
                if member.flag_bits & 1:
                    raise SourceError(
                        f"{self._path} is protected by a password. Unpack it and give the folder."
                    )
                yield SourceFile(
                    printable(member.filename),
                    member.file_size,
                    partial(archive.read, member),
                )


class TarSource:
    """The regular files of a tar, compressed or not, as one stream."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def identity(self, progress: Callable[[int], None]) -> str:
        """Return the archive's SHA-256; see ``datasets.sources.Source``."""
        with _explained(self._path):
            return hash_file(self._path, progress)

    def files(self) -> Iterator[SourceFile]:
        """Yield the files; see ``datasets.sources.Source``."""

        def read(stream: IO[bytes]) -> bytes:
            return stream.read()

        with _explained(self._path), tarfile.open(self._path, "r|*") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    yield SourceFile(printable(member.name), member.size, partial(read, stream))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what a damaged archive raises, also while its files are read, into one clear error."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        LZMAError,
        EOFError,
    ) as error:
        raise IntegrityError(
            f"{path} is damaged or cut short ({error}). Copy or download it again."
        ) from error
    except NotImplementedError as error:
        raise SourceError(f"{path}: {error}. Unpack it and give the folder.") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}.") from error
