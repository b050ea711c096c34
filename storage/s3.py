"""``S3Store``: a bucket of S3, or of a compatible service, as an object store."""

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
    """Objects below a prefix of a bucket; implements ``storage.store.ObjectStore``.

    Each object carries the SHA-256 of its whole content as metadata, because S3's own checksum of a
    multipart object covers only the checksums of its parts. Every complete read is verified against
    it.

    A store may be shared by threads, and pickled: the other process opens its own connections.

    Parameters
    ----------
    bucket : str
        Name of an existing bucket.
    prefix : str, optional
        Folder in the bucket, without leading and trailing slashes. The default is the whole bucket.
    read_timeout : float, seconds, optional
        An attempt fails after this time without a byte.
    attempts : int, ≥ 1, optional
        How often a request is tried in all. The default is AWS_MAX_ATTEMPTS, or 5.
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
        """Leave out the client, which belongs to this process."""
        return {name: value for name, value in vars(self).items() if name != "_s3"}

    @property
    def url(self) -> str:
        """The root as an ``s3://`` URL."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def identity(self) -> str:
        """The root's URL and the service's endpoint."""
        return f"{self.url} at {self._endpoint}"

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing an existing one."""
        if len(data) >= s3_multipart.THRESHOLD:
            self.put_file(key, io.BytesIO(data))
        else:
            with self._translate_errors("write", key):
                self._put_object(key, data)

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Write the complete content of an open file as an object. The file is read twice."""
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
        """Return an object's verified bytes; NotFoundError if it does not exist."""
        return self._get_with_etag(key)[0]

    def get_file(self, key: str, file: IO[bytes]) -> None:
        """Copy an object's bytes into an open file and verify them after the last byte."""
        self._download(key, file)

    @contextmanager
    def open_range(self, key: str, offset: int, size: int) -> Iterator[IO[bytes]]:
        """Open a byte range as a stream; CorruptObjectError if the object ends before it."""
        if size == 0:
            self._head_object(key)
            yield io.BytesIO()
        else:
            with self._open_stream(key, offset, size) as stream:
                yield cast(IO[bytes], stream)

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        """Yield the object as a verified file of the shard cache. It must not be written to."""
        head = self._head_object(key)
        etag = head["ETag"]
        identity = "\n".join([self._endpoint, self.location(key), etag])
        name = hashlib.sha256(identity.encode()).hexdigest()

        def fetch(file: IO[bytes]) -> str:
            return self._download(key, file, etag)

        with _shard_cache().acquire(name, head["ContentLength"], fetch) as path:
            yield path

    def fits_cache(self, size: int) -> bool:
        """Check whether the shard cache can hold this many bytes."""
        return _shard_cache().fits(size)

    def exists(self, key: str) -> bool:
        """Check whether an object exists."""
        try:
            self._head_object(key)
            return True
        except NotFoundError:
            return False

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys below a folder in ascending order."""
        for info in self.list_objects(prefix):
            yield info.key

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below a folder with sizes and modification times, by key."""
        objects = []
        with self._translate_errors("list", prefix):
            pages = self._s3.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=f"{self._full_key(prefix)}/"):
                objects += [
                    ObjectInfo(
                        self._relative_key(entry["Key"]), entry["Size"], entry["LastModified"]
                    )
                    for entry in page.get("Contents", [])
                    # Some consoles create empty objects to represent folders.
                    if not entry["Key"].endswith("/")
                ]
        # Some services list in another order than S3.
        yield from sorted(objects, key=lambda entry: entry.key)

    def list_uploads(self, prefix: str) -> Iterator[MultipartUpload]:
        """Yield the unfinished multipart uploads below a folder."""
        with self._translate_errors("list", prefix):
            for upload in s3_multipart.list_uploads(
                self._s3, self._bucket, f"{self._full_key(prefix)}/"
            ):
                yield replace(upload, key=self._relative_key(upload.key))

    def abort_upload(self, upload: MultipartUpload) -> None:
        """Abort a multipart upload; one that has ended is no error."""
        with self._translate_errors("abort", upload.key):
            s3_multipart.abort_upload(
                self._s3, self._bucket, self._full_key(upload.key), upload.upload_id
            )

    def delete(self, key: str) -> None:
        """Delete an object; a missing object is no error."""
        with self._translate_errors("delete", key):
            self._s3.delete_object(Bucket=self._bucket, Key=self._full_key(key))

    def compare_and_swap(self, key: str, data: bytes, expected: bytes | None) -> None:
        """Write an object if its content is ``expected``; ConflictError if it is not."""
        condition = {"IfNoneMatch": "*"}
        if expected is not None:
            try:
                current, etag = self._get_with_etag(key)
            except NotFoundError:
                raise self._conflict_error(key) from None
            if current != expected:
                raise self._conflict_error(key)
            condition = {"IfMatch": etag}
        # The client retries a request whose response is lost. The condition of the retry fails,
        # because the first request succeeded; the token tells that it was ours.
        token = uuid.uuid4().hex
        try:
            with self._translate_errors("write", key):
                self._put_object(key, data, {"swap": token}, condition)
        except (ConflictError, NotFoundError):
            if not self._has_swap_token(key, token):
                raise self._conflict_error(key) from None

    def location(self, key: str) -> str:
        """Return the ``s3://`` URL of an object."""
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
        """Return an object's verified bytes and its entity tag."""
        with self._open_stream(key) as stream:
            data = b"".join(iter(lambda: stream.read(_CHUNK), b""))
            self._check_digest(key, stream, hashlib.sha256(data).hexdigest())
            return data, str(stream.etag)

    def _download(self, key: str, file: IO[bytes], etag: str | None = None) -> str:
        """Write an object into a file; return the SHA-256 (hex) of its verified bytes."""
        digest = hashlib.sha256()

        def write_chunk(chunk: bytes) -> None:
            digest.update(chunk)
            file.write(chunk)

        # Hash and write one chunk while the next one arrives.
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
        """Raise NoSuchBucket if it was the bucket, and not the object, that HEAD did not find."""
        try:
            if not self._bucket_exists:
                self._s3.head_bucket(Bucket=self._bucket)
        except boto.ClientError as error:
            if error.response["Error"]["Code"] == "404":
                error.response["Error"]["Code"] = "NoSuchBucket"
                raise
            # 403: HeadBucket may be forbidden although the objects are accessible.
        self._bucket_exists = True

    def _has_swap_token(self, key: str, token: str) -> bool:
        try:
            return self._head_object(key)["Metadata"].get("swap") == token
        except NotFoundError:
            return False

    def _conflict_error(self, key: str) -> ConflictError:
        return ConflictError(f"{self.location(key)} was changed by another process. Run again.")


def _shard_cache() -> ShardCache:
    settings = get_settings()
    return ShardCache(settings.cache / "shards", int(settings.shard_cache_gb * 1e9))
