"""Large objects in parts, several at once, each with its SHA-256."""

import hashlib
from base64 import b64encode
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.pool import AsyncResult, ThreadPool
from typing import IO, TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from storage.object_info import MultipartUpload

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

# What is smaller goes in one request.
THRESHOLD = 16 << 20

_MIN_PART_SIZE = 8 << 20
_MAX_PARTS = 10_000
_MAX_CONCURRENT_PARTS = 4


def upload(
    s3: "S3Client", bucket: str, key: str, file: IO[bytes], size: int, metadata: dict[str, str]
) -> None:
    """Write an object from a file's present position on.

    At most five parts are in memory at once. Checksums go as headers: not every service takes
    trailers. An upload that fails is aborted; one whose process is killed stays unfinished, which
    ``find`` and ``abort`` are for.

    Parameters
    ----------
    s3, bucket, key : where to.
    file : the bytes.
    size : how many they are; it decides the size of a part.
    metadata : kept with the object; tells one content from another.

    Raises
    ------
    BotoCoreError, ClientError
        As the client does.
    """
    part_size = max(_MIN_PART_SIZE, -(-size // _MAX_PARTS))
    upload_id = s3.create_multipart_upload(
        Bucket=bucket, Key=key, Metadata=metadata, ChecksumAlgorithm="SHA256"
    )["UploadId"]

    def upload_part(number: int, data: bytes) -> "CompletedPartTypeDef":
        checksum = b64encode(hashlib.sha256(data).digest()).decode()
        response = s3.upload_part(
            Bucket=bucket,
            Key=key,
            UploadId=upload_id,
            PartNumber=number,
            Body=data,
            ChecksumSHA256=checksum,
        )
        return {"PartNumber": number, "ETag": response["ETag"], "ChecksumSHA256": checksum}

    # Not an executor: Python would not end before a request of it that hangs.
    pool = ThreadPool(_MAX_CONCURRENT_PARTS)
    try:
        parts: list[CompletedPartTypeDef] = []
        pending: deque[AsyncResult[CompletedPartTypeDef]] = deque()
        try:
            for number, data in enumerate(iter(lambda: file.read(part_size), b""), 1):
                if len(pending) == _MAX_CONCURRENT_PARTS:
                    parts.append(pending.popleft().get())
                pending.append(pool.apply_async(upload_part, (number, data)))
            parts += [result.get() for result in pending]
        finally:
            pool.close()
            pool.join()
        try:
            s3.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )
        except s3.exceptions.NoSuchUpload:
            # The client repeats a request whose answer was lost, and it was done the first time.
            if not _object_exists(s3, bucket, key, metadata):
                raise
    except BaseException:
        # The first error is the one to tell.
        with suppress(BotoCoreError, ClientError):
            s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        raise


def _object_exists(s3: "S3Client", bucket: str, key: str, metadata: dict[str, str]) -> bool:
    with suppress(BotoCoreError, ClientError):
        return s3.head_object(Bucket=bucket, Key=key)["Metadata"] == metadata
    return False


def list_uploads(s3: "S3Client", bucket: str, prefix: str) -> Iterator[MultipartUpload]:
    """Yield the uploads that have not ended, by the objects' names in the bucket.

    Raises
    ------
    BotoCoreError, ClientError
        As the client does.
    """
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
        for listed in page.get("Uploads", []):
            key, upload_id, size = listed["Key"], listed["UploadId"], 0
            try:
                pages = s3.get_paginator("list_parts")
                for parts in pages.paginate(Bucket=bucket, Key=key, UploadId=upload_id):
                    size += sum(part["Size"] for part in parts.get("Parts", []))
            except s3.exceptions.NoSuchUpload:
                continue
            yield MultipartUpload(key, upload_id, size, listed["Initiated"])


def abort_upload(s3: "S3Client", bucket: str, key: str, upload_id: str) -> None:
    """Abort an upload; nothing happens where it has ended.

    Raises
    ------
    BotoCoreError, ClientError
        As the client does.
    """
    with suppress(s3.exceptions.NoSuchUpload):
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
