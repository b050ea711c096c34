"""The one protocol of every store, and the way to open one by its URL."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import unquote, urlsplit

from config.errors import InputError, NotFoundError, StorageError
from storage.keys import check_key
from storage.local import LocalStore
from storage.object_info import MultipartUpload, ObjectInfo

# Wider than today's rule of AWS: old buckets and other services have names of their own.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


class KeyValueStore(Protocol):
    """Named bytes. Keys are relative paths with ``/``; an object is whole or not there.

    Every method raises StorageError when the store cannot be reached, read or written, and for a
    key that is not a plain relative path.
    """

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing one of that key."""
        ...

    def get(self, key: str) -> bytes:
        """Return an object's bytes, checked; NotFoundError where there is none.

        CorruptObjectError where they are not what was written (S3; a folder trusts its disk),
        IntegrityError where the connection breaks again and again.
        """
        ...

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of that key."""
        ...

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a folder, sorted as strings."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        ...

    def location(self, key: str) -> str:
        """Return where a person finds the object: a path or URL without any secret."""
        ...


class ObjectStore(KeyValueStore, Protocol):
    """All that a store is asked for; errors as in ``Files``."""

    @property
    def url(self) -> str:
        """Where the store is, without any secret."""
        ...

    @property
    def identity(self) -> str:
        """What tells it from every other store: the URL alone does not say at whose service."""
        ...

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Write all of an open, seekable file as an object; the file is left open."""
        ...

    def get_file(self, key: str, file: IO[bytes]) -> None:
        """Write an object's bytes into an open file, from its position on; errors as in ``get``.

        The check comes when all bytes are there: after an error the file holds no object.
        """
        ...

    def open_range(self, key: str, offset: int, size: int) -> AbstractContextManager[IO[bytes]]:
        """Give ``size`` bytes from ``offset`` on as a stream, for the time of the ``with`` block.

        CorruptObjectError where the object ends before. A part has no checksum of its own: only its
        length is checked.
        """
        ...

    def local_copy(self, key: str) -> AbstractContextManager[Path]:
        """Give an object as a local file to read, for the time of the ``with`` block.

        Errors as in ``get``.
        """
        ...

    def fits_cache(self, size: int) -> bool:
        """Tell whether so many bytes of objects can all be local files at once.

        Where not, ``open_local`` may fetch an object anew each time.
        """
        ...

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what is below a folder with sizes and times, in the order of ``list``."""
        ...

    def list_uploads(self, prefix: str) -> Iterator[MultipartUpload]:
        """Yield the writes below a folder that began and have not ended."""
        ...

    def abort_upload(self, upload: MultipartUpload) -> None:
        """End such a write without an object; nothing happens where it has ended."""
        ...

    def compare_and_swap(self, key: str, data: bytes, expected: bytes | None) -> None:
        """Write an object only if it holds ``expected`` (None: does not exist) until then.

        ConflictError where it does not; then nothing is written.
        """
        ...


def get_or_none(store: KeyValueStore, key: str) -> bytes | None:
    """Return an object's bytes, None where there is none; otherwise as ``Files.get``."""
    try:
        return store.get(key)
    except NotFoundError:
        return None


def open_store(url: str) -> ObjectStore:
    """Return the store at a URL.

    Nothing is asked of S3 yet: the first call finds out whether it is there.

    Parameters
    ----------
    url : ``s3://bucket`` or ``s3://bucket/prefix``, ``file:///absolute/path``, or a folder's path.

    Raises
    ------
    InputError
        If it is none of these.
    StorageError
        If the folder cannot be made.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return _open_s3(url)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise InputError(f"Store {url}: a file URL has three slashes, file:///path.")
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme and "://" in url:
        raise InputError(
            f"Store scheme {parts.scheme}:// is not supported: use s3://bucket/prefix or "
            "file:///path."
        )
    if not url:
        raise InputError("The store's URL is empty. Set ICANVAS_STORE or --store.")
    return LocalStore(Path(url).expanduser())


def _open_s3(url: str) -> ObjectStore:
    # boto3 takes a third of a second to import, which a local store need not wait for.
    from storage.s3 import S3Store

    # Not by urlsplit: S3 knows no escapes, and ? and # are characters like any other.
    start, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket or ":" in bucket:
        # Whatever stands there may be a secret.
        raise InputError(
            "The store's URL names more than a bucket: use s3://bucket/prefix. Credentials and "
            "endpoint are AWS's own settings (docs/storage.md)."
        )
    if start != "s3" or not _BUCKET.fullmatch(bucket):
        raise InputError(f"Store {url}: use s3://bucket/prefix, with the bucket's name in full.")
    try:
        prefix = prefix.rstrip("/") and check_key(prefix.rstrip("/"))
    except StorageError as error:
        raise InputError(f"Store {url}: {error}") from None
    return S3Store(bucket, prefix)
