"""A folder as an object store: atomic writes, one file an object."""

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

from config.errors import PREPARE_AGAIN, ConflictError, CorruptObjectError, NotFoundError, StorageError
from storage.keys import PRIVATE_PREFIX, check_key
from storage.object_info import MultipartUpload, ObjectInfo

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Each needs a delete of just that folder's last object in just that moment.
_MAX_ATTEMPTS = 100


class LocalStore:
    """Objects as files below a root folder; see ``storage.store.ObjectStore``."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"The store {self._root} cannot be made: {error.strerror}. "
                "Choose another with --store or ICANVAS_STORE."
            ) from error

    @property
    def root(self) -> Path:
        """The folder, as an absolute path."""
        return self._root

    @property
    def url(self) -> str:
        """The root as a ``file://`` URL."""
        return self._root.as_uri()

    @property
    def identity(self) -> str:
        """The same: a folder is of this machine."""
        return self.url

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing one of that key."""
        with self._atomic_write(key) as temporary:
            temporary.write_bytes(data)

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Write all of an open file as an object."""
        with self._atomic_write(key) as temporary, temporary.open("wb") as copy:
            file.seek(0)
            shutil.copyfileobj(file, copy, 1 << 20)

    def get(self, key: str) -> bytes:
        """Return an object's bytes; NotFoundError where there is none."""
        with self._translate_errors("read", key):
            return self._path(key).read_bytes()

    def get_file(self, key: str, file: IO[bytes]) -> None:
        """Write an object's bytes into an open file; NotFoundError where there is none."""
        with self._translate_errors("read", key), self._path(key).open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)

    @contextmanager
    def open_range(self, key: str, offset: int, size: int) -> Iterator[IO[bytes]]:
        """Give ``size`` bytes from ``offset`` on as a stream; IntegrityError if it ends before."""
        with ExitStack() as stack:
            with self._translate_errors("read", key):
                file = stack.enter_context(self._path(key).open("rb"))
                available = os.fstat(file.fileno()).st_size - offset
            if available < size:
                raise CorruptObjectError(
                    f"{key} is cut short: {max(available, 0)} of {size} bytes from {offset} on. "
                    f"{PREPARE_AGAIN}"
                )
            yield cast(IO[bytes], _FileRange(file, offset, size))

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        """Give the object's own file, without a copy: read only."""
        if not self.exists(key):
            raise _not_found(key)
        yield self._path(key)

    def fits_cache(self, _size: int) -> bool:
        """Tell whether objects can be local files: they are."""
        return True

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of that key."""
        with self._translate_errors("read", key):
            return self._path(key).is_file()

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a folder, in order."""
        for info in self.list_objects(prefix):
            yield info.key

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what is below a folder with sizes and times, in the order of ``list``."""
        objects = (
            ObjectInfo(self._key(path), state.st_size, _modified_time(state))
            for path, state in self._walk(prefix)
            if not path.name.startswith(PRIVATE_PREFIX)
        )
        yield from sorted(objects, key=lambda info: info.key)

    def list_uploads(self, prefix: str) -> Iterator[MultipartUpload]:
        """Yield the files that writes below a folder began and have not put in place."""
        for path, state in self._walk(prefix):
            if path.name.startswith(PRIVATE_PREFIX):
                yield MultipartUpload(
                    self._key(path.parent), str(path), state.st_size, _modified_time(state)
                )

    def abort_upload(self, upload: MultipartUpload) -> None:
        """Remove such a file; nothing happens where it is in place or gone."""
        with self._translate_errors("abort", upload.key):
            Path(upload.upload_id).unlink(missing_ok=True)

    def delete(self, key: str) -> None:
        """Remove an object and the folders that it leaves empty; nothing where there is none."""
        path = self._path(key)
        with self._translate_errors("delete", key):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            for folder in path.relative_to(self._root).parents[:-1]:
                (self._root / folder).rmdir()

    def compare_and_swap(self, key: str, data: bytes, expected: bytes | None) -> None:
        """Write an object only if it holds ``expected`` until then; ConflictError if not."""
        with (
            self._translate_errors("lock", key),
            (self._root / f"{PRIVATE_PREFIX}lock").open("w") as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)
            current = self.get(key) if self.exists(key) else None
            if current != expected:
                raise ConflictError(f"{key} was changed by someone else meanwhile. Run again.")
            self.put(key, data)

    def location(self, key: str) -> str:
        """Return the object's path."""
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        return self._root.joinpath(check_key(key))

    def _key(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _walk(self, prefix: str) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield every file below a folder, in no order; what goes meanwhile may be left out."""
        with self._translate_errors("list", prefix):
            for folder, _, names in os.walk(self._path(prefix), onerror=_raise_unless_missing):
                for name in names:
                    path = Path(folder, name)
                    try:
                        state = path.stat()
                    except FileNotFoundError:
                        continue
                    if stat.S_ISREG(state.st_mode):
                        yield path, state

    @contextmanager
    def _atomic_write(self, key: str) -> Iterator[Path]:
        path = self._path(key)
        temporary = path.parent / f"{PRIVATE_PREFIX}{uuid.uuid4().hex}"
        with self._translate_errors("write", key):
            try:
                _create_file(temporary)
                yield temporary
                fsync(temporary)
                temporary.replace(path)
                with suppress(FileNotFoundError):  # deleted again, with its folder
                    fsync(path.parent)
            finally:
                temporary.unlink(missing_ok=True)

    @contextmanager
    def _translate_errors(self, verb: str, key: object) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise _not_found(key) from error
        except OSError as error:
            raise StorageError(
                f"The store {self._root} cannot {verb} {key}: {error.strerror}. "
                "Check its space and permissions, or choose another with --store."
            ) from error


class _FileRange(io.RawIOBase):
    """Some of a file's bytes as a stream."""

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
    """Make an empty file and its folders, although a delete may remove a folder just made."""
    for _ in range(_MAX_ATTEMPTS):
        with suppress(FileNotFoundError, FileExistsError):
            temporary.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch()
            return
    temporary.touch()


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _modified_time(state: os.stat_result) -> datetime:
    return datetime.fromtimestamp(state.st_mtime, UTC)


def _not_found(key: object) -> NotFoundError:
    return NotFoundError(f"The store holds no {key}.")


def fsync(path: Path) -> None:
    """Have a file or folder outlast a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
