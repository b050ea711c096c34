"""A folder as an object store: atomic writes, one file an object."""

import fcntl
import io
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from errors import ConflictError, DamagedError, NotFoundError, StorageError
from storage.keys import PRIVATE, check_key

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


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
    def url(self) -> str:
        """The root as a ``file://`` URL."""
        return self._root.as_uri()

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing one of that key."""
        with self._writing(key) as temporary:
            temporary.write_bytes(data)

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Write all of an open file as an object."""
        with self._writing(key) as temporary, temporary.open("wb") as copy:
            file.seek(0)
            shutil.copyfileobj(file, copy, 1 << 20)

    def get(self, key: str) -> bytes:
        """Return an object's bytes; NotFoundError where there is none."""
        with self._explained("read", key):
            return self._path(key).read_bytes()

    def get_file(self, key: str, file: IO[bytes]) -> None:
        """Write an object's bytes into an open file; NotFoundError where there is none."""
        with self._explained("read", key), self._path(key).open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)

    @contextmanager
    def open_range(self, key: str, offset: int, size: int) -> Iterator[IO[bytes]]:
        """Give ``size`` bytes from ``offset`` on as a stream; IntegrityError if it ends before."""
        with ExitStack() as stack:
            with self._explained("read", key):
                file = stack.enter_context(self._path(key).open("rb"))
                left = os.fstat(file.fileno()).st_size - offset
            if left < size:
                raise DamagedError(
                    f"{key} is cut short: {max(left, 0)} of {size} bytes from {offset} on. "
                    "Run `icanvas prepare --refresh`."
                )
            yield cast(IO[bytes], _Part(file, offset, size))

    @contextmanager
    def open_local(self, key: str) -> Iterator[Path]:
        """Give the object's own file, without a copy: read only."""
        path = self._path(key)
        if not path.is_file():
            raise _missing(key)
        yield path

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of that key."""
        return self._path(key).is_file()

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a folder, in order."""
        folder = self._path(prefix)
        yield from sorted(
            path.relative_to(self._root).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(PRIVATE)
        )

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        with self._explained("delete", key):
            self._path(key).unlink(missing_ok=True)

    def compare_and_swap(self, key: str, data: bytes, expected: bytes | None) -> None:
        """Write an object only if it holds ``expected`` until then; ConflictError if not."""
        with (
            self._explained("lock", key),
            (self._root / f"{PRIVATE}lock").open("w") as lock,
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

    @contextmanager
    def _writing(self, key: str) -> Iterator[Path]:
        path = self._path(key)
        temporary = path.parent / f"{PRIVATE}{uuid.uuid4().hex}"
        with self._explained("write", key):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                yield temporary
                sync(temporary)
                temporary.replace(path)
                sync(path.parent)
            finally:
                temporary.unlink(missing_ok=True)

    @contextmanager
    def _explained(self, verb: str, what: object) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise _missing(what) from error
        except OSError as error:
            raise StorageError(
                f"The store {self._root} cannot {verb} {what}: {error.strerror}. "
                "Check its space and permissions, or choose another with --store."
            ) from error


class _Part(io.RawIOBase):
    """Some of a file's bytes as a stream."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        file.seek(offset)
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        data = self._file.read(min(len(memoryview(buffer)), self._left))
        memoryview(buffer)[: len(data)] = data
        self._left -= len(data)
        return len(data)


def _missing(key: object) -> NotFoundError:
    return NotFoundError(f"The store holds no {key}.")


def sync(path: Path) -> None:
    """Have a file or folder outlast a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
