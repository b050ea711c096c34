"""An object of S3 as a stream that outlives its connection."""

import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

from config.errors import MAKE_ANEW, DamagedError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from types_boto3_s3 import S3Client

# A body that breaks off is asked for again from there; the client itself repeats requests only.
_BREAKS = 3
# Whoever gave this much since the last break may break again.
_PROGRESS = 8 << 20


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
    DamagedError
        If the object ends before the part does.
    IntegrityError
        If the connection breaks again and again.
    """

    def __init__(
        self,
        s3: "S3Client",
        bucket: str,
        name: str,
        guard: Callable[[], AbstractContextManager[None]],
        offset: int = 0,
        size: int | None = None,
        tag: str | None = None,
    ) -> None:
        self._s3 = s3
        self._bucket, self._name = bucket, name
        self._guard = guard
        self._next = offset
        self._end = None if size is None else offset + size
        self._breaks = self._since = 0
        self.tag = tag
        with guard():
            answer = self._connect()
        self.tag, self.metadata = answer["ETag"], answer["Metadata"]

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
        with self._guard():
            while True:
                try:
                    data = self._body.read(size)
                    break
                except (boto.HTTPClientError, boto.IncompleteReadError, HTTPError):
                    self._breaks = 1 if self._since >= _PROGRESS else self._breaks + 1
                    self._since = 0
                    if self._breaks == _BREAKS:
                        raise
                    time.sleep(self._breaks)
                    self._connect()
        self._next += len(data)
        self._since += len(data)
        return data

    def close(self) -> None:
        """Give the connection back."""
        if not self.closed:
            self._body.close()
        super().close()

    def _connect(self) -> Any:
        request = {} if self.tag is None else {"IfMatch": self.tag}
        if self._next or self._end is not None:
            last = "" if self._end is None else self._end - 1
            request["Range"] = f"bytes={self._next}-{last}"
        answer = self._s3.get_object(
            Bucket=self._bucket,
            Key=self._name,
            ChecksumMode="ENABLED",
            **request,  # type: ignore[arg-type]
        )
        self._body = answer["Body"]
        wanted = answer["ContentLength"] if self._end is None else self._end - self._next
        if answer["ContentLength"] != wanted:
            self._body.close()
            raise DamagedError(
                f"s3://{self._bucket}/{self._name} is cut short: {answer['ContentLength']} of "
                f"{wanted} bytes from {self._next} on. {MAKE_ANEW}"
            )
        return answer
