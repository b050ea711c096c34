"""A stream of an S3 object's bytes that reconnects when the connection breaks."""

import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from config.errors import PREPARE_AGAIN, CorruptObjectError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from types_boto3_s3 import S3Client

# How often in a row the connection may fail. The client retries requests, but not broken bodies.
_MAX_FAILURES = 3
# The count restarts after this many bytes.
_PROGRESS_BYTES = 8 << 20


class ObjectStream(io.RawIOBase):
    """The bytes of an object, or of a range of it, in order.

    If the connection breaks, the stream requests the remaining bytes, on condition that the object
    is unchanged. It gives up after three failures without 8 MiB in between.

    Parameters
    ----------
    s3 : botocore.client.S3
        The client.
    bucket : str
        Name of the bucket.
    key : str
        Full key of the object in the bucket.
    translate_errors : callable
        Returns a context manager that translates the client's errors; see
        ``storage.s3_client.translate_errors``.
    offset : int, bytes, optional
        First byte of the range.
    size : int, bytes, ≥ 1, optional
        Length of the range; None for the rest of the object.
    etag : str, optional
        Entity tag that the object must have; None for any.

    Attributes
    ----------
    etag : str
        The object's entity tag.
    metadata : dict of str to str
        The object's user metadata.

    Raises
    ------
    NotFoundError, ConflictError, StorageError
        As ``translate_errors`` does, from the constructor and from reads.
    CorruptObjectError
        If the object ends before the range does.
    IntegrityError
        If the connection breaks repeatedly.
    """

    def __init__(
        self,
        s3: "S3Client",
        bucket: str,
        key: str,
        translate_errors: Callable[[], AbstractContextManager[None]],
        offset: int = 0,
        size: int | None = None,
        etag: str | None = None,
    ) -> None:
        self._s3 = s3
        self._bucket, self._key = bucket, key
        self._translate_errors = translate_errors
        self._position = offset
        self._end = None if size is None else offset + size
        self._failures = self._bytes_since_failure = 0
        self.etag = etag
        with translate_errors():
            response = self._request_body()
        self.etag, self.metadata = response["ETag"], response["Metadata"]

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read the next bytes into a buffer and return their number; 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes; all remaining ones for a negative size; ``b""`` at the end.

        Overridden because the base class would copy the bytes twice.
        """
        if size < 0:
            return self.readall()
        with self._translate_errors():
            while True:
                try:
                    data = self._body.read(size)
                    break
                except (boto.HTTPClientError, boto.IncompleteReadError, HTTPError):
                    self._failures = (
                        1 if self._bytes_since_failure >= _PROGRESS_BYTES else self._failures + 1
                    )
                    self._bytes_since_failure = 0
                    if self._failures == _MAX_FAILURES:
                        raise
                    time.sleep(self._failures)
                    self._request_body()
        self._position += len(data)
        self._bytes_since_failure += len(data)
        return data

    def close(self) -> None:
        """Return the connection to the pool."""
        if not self.closed:
            self._body.close()
        super().close()

    def _request_body(self) -> Any:
        request = {} if self.etag is None else {"IfMatch": self.etag}
        if self._position or self._end is not None:
            end = "" if self._end is None else self._end - 1
            request["Range"] = f"bytes={self._position}-{end}"
        response = self._s3.get_object(
            Bucket=self._bucket,
            Key=self._key,
            ChecksumMode="ENABLED",
            **request,  # type: ignore[arg-type]
        )
        self._body = response["Body"]
        expected = response["ContentLength"] if self._end is None else self._end - self._position
        if response["ContentLength"] != expected:
            self._body.close()
            raise CorruptObjectError(
                f"s3://{self._bucket}/{self._key} is truncated: {response['ContentLength']} of "
                f"{expected} bytes at offset {self._position}. {PREPARE_AGAIN}"
            )
        return response
