"""An object of S3 as a stream that outlives its connection."""

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

# A body that breaks off is asked for again from there; the client itself repeats requests only.
_MAX_FAILURES = 3
# Whoever gave this much since the last break may break again.
_PROGRESS_BYTES = 8 << 20


class ObjectStream(io.RawIOBase):
    """The bytes of an object, or of a part of it, in order.

    A connection that breaks is made anew where it broke, on condition that the object is the same.

    Parameters
    ----------
    s3, bucket, name : which object.
    guard : turns the client's errors into ours; see ``storage.s3_client.explained``.
    offset : of the first byte.
    size : bytes to read, at least 1; None for all that follow.
    tag : entity tag that the object must have; None for any.

    Attributes
    ----------
    tag : the object's entity tag.
    metadata : what was kept with the object.

    Raises
    ------
    NotFoundError, ConflictError, StorageError
        As ``explained`` says; here and while reading.
    CorruptObjectError
        If the object ends before the part does.
    IntegrityError
        If the connection breaks again and again.
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
        """Say yes."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read the next bytes into a buffer and return how many; 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, or all that are left; nothing at the end.

        The base class would copy them twice.
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
        """Give the connection back."""
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
                f"s3://{self._bucket}/{self._key} is cut short: {response['ContentLength']} of "
                f"{expected} bytes from {self._position} on. {PREPARE_AGAIN}"
            )
        return response
