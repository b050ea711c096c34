"""The protocol that every store implements, and ``open_store``, which opens one by its URL."""

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

# Wider than AWS's present rule: old buckets and other services allow more names.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


class KeyValueStore(Protocol):
    """Read and write whole objects by key.

    A key is a relative path with ``/`` as separator. A write is atomic: readers see the complete
    object, or none. Every method raises StorageError if the store cannot be reached, read or
    written, and if the key is not a plain relative path (see ``storage.keys.check_key``).
    """

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing an existing one.

        Parameters
        ----------
        key : str
            Key of the object.
        data : bytes
            Complete content.
        """
        ...

    def get(self, key: str) -> bytes:
        """Read an object and verify its bytes.

        Parameters
        ----------
        key : str
            Key of the object.

        Returns
        -------
        bytes
            Complete content.

        Raises
        ------
        NotFoundError
            If the object does not exist.
        CorruptObjectError
            If the bytes differ from those that were written. Only S3 verifies a checksum; a local
            folder relies on the file system.
        IntegrityError
            If the connection breaks repeatedly.
        """
        ...

    def exists(self, key: str) -> bool:
        """Check whether an object exists.

        Parameters
        ----------
        key : str
            Key of the object.

        Returns
        -------
        bool
            False also for a folder of objects.
        """
        ...

    def list_keys(self, prefix: str) -> Iterator[str]:
        """List the keys below a folder.

        Parameters
        ----------
        prefix : str
            Key of the folder, without a trailing ``/``.

        Yields
        ------
        str
            Keys in ascending order of their code points. Nothing if the folder does not exist.
        """
        ...

    def delete(self, key: str) -> None:
        """Delete an object. Deleting a missing object is no error.

        Parameters
        ----------
        key : str
            Key of the object.
        """
        ...

    def location(self, key: str) -> str:
        """Return the path or URL of an object, for messages. It contains no secret.

        Parameters
        ----------
        key : str
            Key of the object, which need not exist.

        Returns
        -------
        str
            A file's path, or an ``s3://`` URL.
        """
        ...


class ObjectStore(KeyValueStore, Protocol):
    """The complete interface of a store. Errors are those of ``KeyValueStore``."""

    @property
    def url(self) -> str:
        """URL of the store's root, without credentials."""
        ...

    @property
    def identity(self) -> str:
        """String that distinguishes this store from every other.

        The URL alone does not: the same bucket name may exist at two S3 services.
        """
        ...

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Write the complete content of an open file as an object, replacing an existing one.

        Parameters
        ----------
        key : str
            Key of the object.
        file : binary file
            Open and seekable. It is read from its beginning and left open.
        """
        ...

    def get_file(self, key: str, file: IO[bytes]) -> None:
        """Copy an object's bytes into an open file. Errors are those of ``get``.

        The checksum is verified after the last byte: after an error the file's content is
        incomplete or corrupt.

        Parameters
        ----------
        key : str
            Key of the object.
        file : binary file
            Open for writing. The bytes are written at its current position.
        """
        ...

    def open_range(self, key: str, offset: int, size: int) -> AbstractContextManager[IO[bytes]]:
        """Open a byte range of an object as a stream, for the duration of the ``with`` block.

        Only the length of a range is verified: it has no checksum of its own.

        Parameters
        ----------
        key : str
            Key of the object.
        offset : int, bytes, ≥ 0
            First byte of the range.
        size : int, bytes, ≥ 0
            Length of the range.

        Returns
        -------
        context manager of a binary stream
            Readable, not seekable; exactly ``size`` bytes long.

        Raises
        ------
        NotFoundError
            If the object does not exist.
        CorruptObjectError
            If the object ends before the range does.
        """
        ...

    def local_copy(self, key: str) -> AbstractContextManager[Path]:
        """Provide an object as a local file, for the duration of the ``with`` block.

        Errors are those of ``get``.

        Parameters
        ----------
        key : str
            Key of the object.

        Returns
        -------
        context manager of pathlib.Path
            Path of the file. It may be a shared cached file, so it must not be written to.
        """
        ...

    def fits_cache(self, size: int) -> bool:
        """Check whether objects of this total size can all be kept as local files.

        If not, ``local_copy`` may download an object again at every call.

        Parameters
        ----------
        size : int, bytes
            Total size of the objects.

        Returns
        -------
        bool
            True for a local folder, whose objects are local files already.
        """
        ...

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """List the objects below a folder with their sizes and modification times.

        Parameters
        ----------
        prefix : str
            Key of the folder, without a trailing ``/``.

        Yields
        ------
        ObjectInfo
            In the order of ``list_keys``.
        """
        ...

    def list_uploads(self, prefix: str) -> Iterator[MultipartUpload]:
        """List the unfinished writes below a folder.

        Parameters
        ----------
        prefix : str
            Key of the folder, without a trailing ``/``.

        Yields
        ------
        MultipartUpload
            Writes that are in progress, or whose process was killed.
        """
        ...

    def abort_upload(self, upload: MultipartUpload) -> None:
        """Abort an unfinished write. Nothing happens if it has finished or was aborted.

        Parameters
        ----------
        upload : MultipartUpload
            As ``list_uploads`` yields it.
        """
        ...

    def compare_and_swap(self, key: str, data: bytes, expected: bytes | None) -> None:
        """Write an object on condition that its content has not changed.

        Parameters
        ----------
        key : str
            Key of the object.
        data : bytes
            New content.
        expected : bytes or None
            Content that the object must have now; None if it must not exist.

        Raises
        ------
        ConflictError
            If the current content is another one. Nothing is written then.
        """
        ...


def get_or_none(store: KeyValueStore, key: str) -> bytes | None:
    """Read an object that need not exist.

    Parameters
    ----------
    store : KeyValueStore
        The store.
    key : str
        Key of the object.

    Returns
    -------
    bytes or None
        Content; None if the object does not exist. Other errors are those of ``KeyValueStore.get``.
    """
    try:
        return store.get(key)
    except NotFoundError:
        return None


def open_store(url: str) -> ObjectStore:
    """Open the store at a URL.

    S3 is not contacted yet: the first request finds out whether the bucket exists.

    Parameters
    ----------
    url : str
        ``s3://bucket``, ``s3://bucket/prefix``, ``file:///absolute/path``, or the path of a folder,
        which is created.

    Returns
    -------
    ObjectStore
        An ``S3Store`` or a ``LocalStore``.

    Raises
    ------
    InputError
        If the URL has none of these forms.
    StorageError
        If the folder cannot be created.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = open_store(folder)
    ...     store.put("datasets/cat/note.txt", b"meow")
    ...     store.get("datasets/cat/note.txt"), list(store.list_keys("datasets"))
    (b'meow', ['datasets/cat/note.txt'])
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return _open_s3(url)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise InputError(f"Store {url} names a host: use file:///path, with three slashes.")
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
    # Importing boto3 takes a third of a second, which a local store does not need.
    from storage.s3 import S3Store

    # Not urlsplit: S3 URLs have no escapes, and ? and # are ordinary characters.
    start, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket or ":" in bucket:
        # This part may be a secret, so the message must not repeat it.
        raise InputError(
            "The store's URL contains more than bucket and prefix: use s3://bucket/prefix, and set "
            "credentials and endpoint by AWS's own settings (docs/storage.md)."
        )
    if start != "s3" or not _BUCKET.fullmatch(bucket):
        raise InputError(f"Store {url} names no valid bucket: use s3://bucket/prefix.")
    try:
        prefix = prefix.rstrip("/") and check_key(prefix.rstrip("/"))
    except StorageError as error:
        raise InputError(f"Store {url}: {error}") from None
    return S3Store(bucket, prefix)
