"""The one protocol of every store, and the way to open one by its URL."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import unquote, urlsplit

from errors import InputError
from storage.local import LocalStore


class ObjectStore(Protocol):
    """Named bytes. Keys are relative paths with ``/``; an object is whole or not there.

    Every method raises StorageError when the store cannot be reached, read or written, and for a
    key that is not a plain relative path.
    """

    @property
    def url(self) -> str:
        """Where the store is, without any secret."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing one of that key."""
        ...

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Write all of an open file as an object."""
        ...

    def get(self, key: str) -> bytes:
        """Return an object's bytes; NotFoundError where there is none."""
        ...

    def get_range(self, key: str, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset`` on; IntegrityError where the object ends before."""
        ...

    def open_local(self, key: str) -> AbstractContextManager[Path]:
        """Give an object as a local file to read, for the time of the ``with`` block."""
        ...

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of that key."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a folder, in order."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        ...

    def compare_and_swap(self, key: str, data: bytes, expected: bytes | None) -> None:
        """Write an object only if it holds ``expected`` (None: does not exist) until then.

        ConflictError where it does not; then nothing is written.
        """
        ...

    def location(self, key: str) -> str:
        """Return where a person finds the object: a path or URL without any secret."""
        ...


def open_store(url: str) -> ObjectStore:
    """Return the store at a URL.

    Parameters
    ----------
    url : ``file:///absolute/path``, or a folder's path.

    Raises
    ------
    InputError
        If the scheme is not one of these.
    StorageError
        If the folder cannot be made.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise InputError(f"Store {url}: a file URL has three slashes, file:///path.")
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme and "://" in url:
        raise InputError(f"Store scheme {parts.scheme}:// is not supported: use file:///path.")
    if not url:
        raise InputError("The store's URL is empty. Set ICANVAS_STORE or --store.")
    return LocalStore(Path(url).expanduser())
