"""``LocalStore``: a folder as an object store, one file per object, with atomic writes."""

import fcntl
import io
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from config.errors import (
    PREPARE_AGAIN,
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    StorageError,
)
from storage.keys import PRIVATE_PREFIX, check_key
from storage.object_info import MultipartUpload, ObjectInfo

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Every failed attempt requires a concurrent delete of the last object in the folder.
_MAX_ATTEMPTS = 100


class LocalStore:
    """Objects as files below a root folder; implements ``storage.store.ObjectStore``.

    Parameters
    ----------
    root : pathlib.Path
        The folder. It is created if it does not exist.

    Raises
    ------
    StorageError
        If the folder cannot be created.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"Creating the store's folder {self._root} failed: {error.strerror}. "
                "Choose another with --store or ICANVAS_STORE."
            ) from error

    @property
    def root(self) -> Path:
        """The root folder, as an absolute path."""
        return self._root

    @property
    def url(self) -> str:
        """The root folder as a ``file://`` URL."""
        return self._root.as_uri()

    @property
    def identity(self) -> str:
        """The URL: a folder belongs to this machine."""
        return self.url

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing an existing one."""
        with self._atomic_write(key) as temporary:
            temporary.write_bytes(data)

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Write the complete content of an open file as an object."""
        with self._atomic_write(key) as temporary, temporary.open("wb") as copy:
            file.seek(0)
            shutil.copyfileobj(file, copy, 1 << 20)

    def get(self, key: str) -> bytes:
        """Return an object's bytes; NotFoundError if it does not exist."""
        with self._translate_errors("read", key):
            return self._path(key).read_bytes()

    def get_file(self, key: str, file: IO[bytes]) -> None:
        """Copy an object's bytes into an open file; NotFoundError if it does not exist."""
        with self._translate_errors("read", key), self._path(key).open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)

    @contextmanager
    def open_range(self, key: str, offset: int, size: int) -> Iterator[IO[bytes]]:
        """Open a byte range as a stream; CorruptObjectError if the file ends before it."""
        with ExitStack() as stack:
            with self._translate_errors("read", key):
                file = stack.enter_context(self._path(key).open("rb"))
                available = os.fstat(file.fileno()).st_size - offset
            if available < size:
                raise CorruptObjectError(
                    f"{key} is truncated: {max(available, 0)} of {size} bytes at offset {offset}. "
                    f"{PREPARE_AGAIN}"
                )
            yield cast(IO[bytes], _FileRange(file, offset, size))

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        """Yield the object's own file, without copying it. It must not be written to."""
        if not self.exists(key):
            raise _not_found(key)
        yield self._path(key)

    def fits_cache(self, _size: int) -> bool:
        """Return True: objects are local files already."""
        return True

    def exists(self, key: str) -> bool:
        """Check whether an object exists."""
        with self._translate_errors("read", key):
            return self._path(key).is_file()

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a folder in ascending order."""
        for info in self.list_objects(prefix):
            yield info.key

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below a folder with sizes and modification times, by key."""
        objects = (
            ObjectInfo(self._key(path), status.st_size, _modified_time(status))
            for path, status in self._walk(prefix)
            if not path.name.startswith(PRIVATE_PREFIX)
        )
        yield from sorted(objects, key=lambda info: info.key)

    def list_uploads(self, prefix: str) -> Iterator[MultipartUpload]:
        """Yield the temporary files below a folder, which writes create before they rename them."""
        for path, status in self._walk(prefix):
            if path.name.startswith(PRIVATE_PREFIX):
                yield MultipartUpload(
                    self._key(path.parent), str(path), status.st_size, _modified_time(status)
                )

    def abort_upload(self, upload: MultipartUpload) -> None:
        """Delete the temporary file of an unfinished write; a missing file is no error."""
        with self._translate_errors("abort", upload.key):
            Path(upload.upload_id).unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        """Delete an object and the folders that become empty; a missing object is no error."""
        path = self._path(key)
        with self._translate_errors("delete", key):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            for folder in path.relative_to(self._root).parents[:-1]:
                (self._root / folder).rmdir()

    def compare_and_swap(self, key: str, data: bytes, expected: bytes | None) -> None:
        """Write an object if its content is ``expected``; ConflictError if it is not."""
        with (
            self._translate_errors("lock", key),
            (self._root / f"{PRIVATE_PREFIX}lock").open("w") as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)
            current = self.get(key) if self.exists(key) else None
            if current != expected:
                raise ConflictError(f"{key} was changed by another process. Run again.")
            self.put(key, data)

    def location(self, key: str) -> str:
        """Return the path of an object's file."""
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        return self._root.joinpath(check_key(key))

    def _key(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _walk(self, prefix: str) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield every file below a folder, unordered. Files deleted meanwhile may be left out."""
        with self._translate_errors("list", prefix):
            for folder, _, names in os.walk(self._path(prefix), onerror=_raise_unless_missing):
                for name in names:
                    path = Path(folder, name)
                    try:
                        status = path.stat()
                    except FileNotFoundError:
                        continue
                    if stat.S_ISREG(status.st_mode):
                        yield path, status

    @contextmanager
    def _atomic_write(self, key: str) -> Iterator[Path]:
        """Yield a temporary file; then flush it to disk and rename it to the object's file."""
        path = self._path(key)
        temporary = path.parent / f"{PRIVATE_PREFIX}{uuid.uuid4().hex}"
        with self._translate_errors("write", key):
            try:
                _create_file(temporary)
                yield temporary
                fsync(temporary)
                temporary.replace(path)
                with suppress(FileNotFoundError):  # deleted by another process, with its folder
                    fsync(path.parent)
            finally:
                temporary.unlink(missing_ok=True)

    @contextmanager
    def _translate_errors(self, verb: str, key: object) -> Iterator[None]:
        """Raise NotFoundError for a missing file, and StorageError for any other OSError."""
        try:
            yield
        except FileNotFoundError as error:
            raise _not_found(key) from error
        except OSError as error:
            raise StorageError(
                f"The store {self._root} cannot {verb} {key}: {error.strerror}. "
                "Check its free space and permissions, or choose another with --store."
            ) from error


class _FileRange(io.RawIOBase):
    """A byte range of an open file as a raw stream."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        file.seek(offset)
        self._file = file
        self._remaining = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        data = self._file.read(min(len(memoryview(buffer)), self._remaining))
        memoryview(buffer)[: len(data)] = data
        self._remaining -= len(data)
        return len(data)


def _create_file(temporary: Path) -> None:
    """Create an empty file and its folders.

    Retries if a concurrent ``delete`` removes a folder between the two steps.
    """
    for _ in range(_MAX_ATTEMPTS):
        with suppress(FileNotFoundError, FileExistsError):
            temporary.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch()
            return
    temporary.touch()


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _modified_time(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)


def _not_found(key: object) -> NotFoundError:
    return NotFoundError(f"{key} does not exist in the store.")


def fsync(path: Path) -> None:
    """Flush a file or folder to disk, so that it survives a power failure.

    Parameters
    ----------
    path : pathlib.Path
        An existing file or folder.

    Raises
    ------
    OSError
        If it cannot be opened or flushed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
