"""A bucket of S3, or of a service that speaks like it, as an object store."""

import hashlib
import io
import uuid
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from botocore import exceptions as boto

from config.errors import ConflictError, CorruptObjectError, NotFoundError
from config.settings import get_settings
from storage import s3_multipart
from storage.cache import ShardCache
from storage.keys import check_key
from storage.object_info import MultipartUpload, ObjectInfo
from storage.s3_client import corrupt_object_message, create_client, translate_errors
from storage.s3_stream import ObjectStream

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef

_CHUNK = 1 << 20


class S3Store:
    """Objects below a prefix of a bucket; see ``storage.store.ObjectStore``.

    Each object carries the SHA-256 of its whole content as metadata, because S3's own checksum of a
    multipart object is one of its parts' checksums. Every full read is held against it.

    A store can be shared by threads, and sent to another process, which connects anew.

    Parameters
    ----------
    bucket : name of the bucket, which exists.
    prefix : folder in it, without slashes around; empty for the bucket itself.
    read_timeout : seconds without a byte after which an attempt is given up.
    attempts : how often a request is tried; AWS_MAX_ATTEMPTS or 5 when left out.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        read_timeout: float = 60,
        attempts: int | None = None,
    ) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._read_timeout = read_timeout
        self._attempts = attempts
        self._bucket_exists = False

    def __getstate__(self) -> dict[str, object]:
        """Leave the client, which belongs to this process, behind."""
        return {name: value for name, value in vars(self).items() if name != "_s3"}

    @property
    def url(self) -> str:
        """The root as an ``s3://`` URL."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def identity(self) -> str:
        """The root's URL, and the service's."""
        return f"{self.url} at {self._endpoint}"

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing one of that key."""
        if len(data) >= s3_multipart.THRESHOLD:
            self.put_file(key, io.BytesIO(data))
        else:
            with self._translate_errors("write", key):
                self._put_object(key, data)

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Write all of an open, seekable file as an object; it is read twice and left open."""
        digest, size = hashlib.sha256(), 0
        file.seek(0)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
        file.seek(0)
        with self._translate_errors("write", key):
            if size < s3_multipart.THRESHOLD:
                self._put_object(key, file.read())
            else:
                name, metadata = self._full_key(key), {"sha256": digest.hexdigest()}
                s3_multipart.upload(self._s3, self._bucket, name, file, size, metadata)

    def get(self, key: str) -> bytes:
        """Return an object's bytes; NotFoundError, or IntegrityError if they fail their check."""
        return self._get_with_etag(key)[0]

    def get_file(self, key: str, file: IO[bytes]) -> None:
        """Write an object's bytes into an open file; it is checked when all are there."""
        self._download(key, file)

    @contextmanager
    def open_range(self, key: str, offset: int, size: int) -> Iterator[IO[bytes]]:
        """Give ``size`` bytes from ``offset`` on as a stream; IntegrityError if it ends before."""
        if size == 0:
            self._head_object(key)
            yield io.BytesIO()
        else:
            with self._open_stream(key, offset, size) as stream:
                yield cast(IO[bytes], stream)

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        """Give the object as a file of the shard cache, fetched and checked: read only."""
        head = self._head_object(key)
        etag = head["ETag"]
        identity = "\n".join([self._endpoint, self.location(key), etag])
        name = hashlib.sha256(identity.encode()).hexdigest()

        def fetch(file: IO[bytes]) -> str:
            return self._download(key, file, etag)

        with _shard_cache().acquire(name, head["ContentLength"], fetch) as path:
            yield path

    def fits_cache(self, size: int) -> bool:
        """Tell whether the shard cache can hold so many bytes."""
        return _shard_cache().fits(size)

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of that key."""
        try:
            self._head_object(key)
            return True
        except NotFoundError:
            return False

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a folder, sorted as strings."""
        for info in self.list_objects(prefix):
            yield info.key

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield what is below a folder with sizes and times, in the order of ``list``."""
        objects = []
        with self._translate_errors("list", prefix):
            pages = self._s3.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=f"{self._full_key(prefix)}/"):
                objects += [
                    ObjectInfo(
                        self._relative_key(found["Key"]), found["Size"], found["LastModified"]
                    )
                    for found in page.get("Contents", [])
                    # Some consoles leave empty objects for folders.
                    if not found["Key"].endswith("/")
                ]
        # Some services list in another order.
        yield from sorted(objects, key=lambda entry: entry.key)

    def list_uploads(self, prefix: str) -> Iterator[MultipartUpload]:
        """Yield the uploads below a folder that began and have not ended."""
        with self._translate_errors("list", prefix):
            for found in s3_multipart.list_uploads(
                self._s3, self._bucket, f"{self._full_key(prefix)}/"
            ):
                yield replace(found, key=self._relative_key(found.key))

    def abort_upload(self, upload: MultipartUpload) -> None:
        """End such an upload without an object; nothing happens where it has ended."""
        with self._translate_errors("abort", upload.key):
            s3_multipart.abort_upload(
                self._s3, self._bucket, self._full_key(upload.key), upload.upload_id
            )

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        with self._translate_errors("delete", key):
            self._s3.delete_object(Bucket=self._bucket, Key=self._full_key(key))

    def compare_and_swap(self, key: str, data: bytes, expected: bytes | None) -> None:
        """Write an object only if it holds ``expected`` until then; ConflictError if not."""
        condition = {"IfNoneMatch": "*"}
        if expected is not None:
            try:
                current, etag = self._get_with_etag(key)
            except NotFoundError:
                raise self._conflict_error(key) from None
            if current != expected:
                raise self._conflict_error(key)
            condition = {"IfMatch": etag}
        # The client repeats a request whose answer is lost; the second then meets the first.
        token = uuid.uuid4().hex
        try:
            with self._translate_errors("write", key):
                self._put_object(key, data, {"swap": token}, condition)
        except (ConflictError, NotFoundError):
            if not self._has_swap_token(key, token):
                raise self._conflict_error(key) from None

    def location(self, key: str) -> str:
        """Return the object's ``s3://`` URL."""
        return f"s3://{self._bucket}/{self._full_key(key)}"

    @cached_property
    def _s3(self) -> "S3Client":
        return create_client(self._read_timeout, self._attempts)

    @property
    def _endpoint(self) -> str:
        return self._s3.meta.endpoint_url

    @property
    def _key_prefix(self) -> str:
        return f"{self._prefix}/" if self._prefix else ""

    def _full_key(self, key: str) -> str:
        return self._key_prefix + check_key(key)

    def _relative_key(self, full_key: str) -> str:
        return full_key.removeprefix(self._key_prefix)

    def _translate_errors(self, verb: str, key: str) -> AbstractContextManager[None]:
        return translate_errors(self._endpoint, verb, self.location(key))

    def _put_object(
        self,
        key: str,
        data: bytes,
        metadata: dict[str, str] | None = None,
        condition: dict[str, Any] | None = None,
    ) -> None:
        digest = hashlib.sha256(data)
        self._s3.put_object(
            Bucket=self._bucket,
            Key=self._full_key(key),
            Body=data,
            ChecksumSHA256=b64encode(digest.digest()).decode(),
            Metadata={"sha256": digest.hexdigest(), **(metadata or {})},
            **(condition or {}),
        )

    def _open_stream(
        self, key: str, offset: int = 0, size: int | None = None, etag: str | None = None
    ) -> AbstractContextManager[ObjectStream]:
        guard = partial(self._translate_errors, "read", key)
        return closing(
            ObjectStream(self._s3, self._bucket, self._full_key(key), guard, offset, size, etag)
        )

    def _get_with_etag(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes, checked, and its entity tag."""
        with self._open_stream(key) as stream:
            data = b"".join(iter(lambda: stream.read(_CHUNK), b""))
            self._check_digest(key, stream, hashlib.sha256(data).hexdigest())
            return data, str(stream.etag)

    def _download(self, key: str, file: IO[bytes], etag: str | None = None) -> str:
        """Write an object into a file; return the SHA-256 (hex) of its bytes, checked."""
        digest = hashlib.sha256()

        def write_chunk(chunk: bytes) -> None:
            digest.update(chunk)
            file.write(chunk)

        # While one chunk is hashed and written the next one arrives.
        with self._open_stream(key, etag=etag) as stream, ThreadPoolExecutor(1) as pool:
            pending_write = pool.submit(write_chunk, b"")
            while chunk := stream.read(_CHUNK):
                pending_write.result()
                pending_write = pool.submit(write_chunk, chunk)
            pending_write.result()
            self._check_digest(key, stream, digest.hexdigest())
        return digest.hexdigest()

    def _check_digest(self, key: str, stream: ObjectStream, digest: str) -> None:
        if stream.metadata.get("sha256", digest) != digest:
            raise CorruptObjectError(corrupt_object_message(self.location(key)))

    def _head_object(self, key: str) -> "HeadObjectOutputTypeDef":
        with self._translate_errors("read", key):
            try:
                return self._s3.head_object(Bucket=self._bucket, Key=self._full_key(key))
            except boto.ClientError as error:
                if error.response["Error"]["Code"] == "404":
                    self._raise_if_bucket_missing()
                raise

    def _raise_if_bucket_missing(self) -> None:
        """Raise NoSuchBucket where HEAD's answer leaves open what there is none of."""
        try:
            if not self._bucket_exists:
                self._s3.head_bucket(Bucket=self._bucket)
        except boto.ClientError as error:
            if error.response["Error"]["Code"] == "404":
                error.response["Error"]["Code"] = "NoSuchBucket"
                raise
            # 403: whoever may not look at the bucket may still use it.
        self._bucket_exists = True

    def _has_swap_token(self, key: str, token: str) -> bool:
        try:
            return self._head_object(key)["Metadata"].get("swap") == token
        except NotFoundError:
            return False

    def _conflict_error(self, key: str) -> ConflictError:
        return ConflictError(
            f"{self.location(key)} was changed by someone else meanwhile. Run again."
        )


def _shard_cache() -> ShardCache:
    settings = get_settings()
    return ShardCache(settings.cache / "shards", int(settings.shard_cache_gb * 1e9))
