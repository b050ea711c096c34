"""Zip and tar archives, read member by member and never unpacked, so no name is ever a path."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from lzma import LZMAError
from pathlib import Path
from typing import IO, Literal, Self

from datasets.sources.file import SourceFile, hash_file, printable
from errors import IntegrityError, SourceError


def archive_kind(path: Path) -> Literal["zip", "tar"] | None:
    """Tell by its content what an existing file is; None for neither."""
    with _explained(path):
        with path.open("rb") as file:
            start = file.read(6)
        # By its beginning, because a zip's end can stand at the end of anything, and because an
        # archive that was cut short is none to the libraries any more, but still meant to be one.
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return "zip"
        if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")) or path.suffix == ".tar":
            return "tar"
        return "tar" if tarfile.is_tarfile(path) else "zip" if zipfile.is_zipfile(path) else None


class _Archive:
    def __init__(self, path: Path) -> None:
        self._path = path

    def identity(self, progress: Callable[[int], None]) -> str:
        """Return the archive's SHA-256; see ``datasets.sources.Source``."""
        with _explained(self._path):
            return hash_file(self._path, progress)


class ZipSource(_Archive):
    """The regular files of a zip, in the archive's order."""

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
                read = partial(self._read, archive, member)
                yield SourceFile(printable(member.filename), member.file_size, read)

    def _read(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
        with _explained(self._path):
            return archive.read(member)


class TarSource(_Archive):
    """The regular files of a tar, compressed or not, as one stream."""

    def files(self) -> Iterator[SourceFile]:
        """Yield the files; see ``datasets.sources.Source``."""

        class Member(_EndNoted):
            ended = False

        with (
            _explained(self._path),
            tarfile.open(self._path, "r|*", tarinfo=Member) as archive,
        ):
            for member in archive:
                if member.islnk() or member.issym():
                    yield SourceFile(printable(member.name), 0, bytes, link=member.linkname)
                elif (stream := archive.extractfile(member)) is not None:
                    read = partial(self._read, stream)
                    yield SourceFile(printable(member.name), member.size, read)
            if not Member.ended:
                raise EOFError("the end mark is missing")

    def _read(self, stream: IO[bytes]) -> bytes:
        with _explained(self._path):
            return stream.read()


class _EndNoted(tarfile.TarInfo):
    """Notes whether a tar's end mark was met: ``tarfile`` takes any end for the end."""

    ended: bool

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """Read the next header."""
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # not in the stubs
            cls.ended = True
            raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what a damaged archive raises into one clear error."""
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
