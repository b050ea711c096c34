"""Multipart uploads: large objects in concurrent parts, each with its SHA-256."""

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

# Smaller objects are sent in one request.
THRESHOLD = 16 << 20

_MIN_PART_SIZE = 8 << 20
_MAX_PARTS = 10_000
_MAX_CONCURRENT_PARTS = 4


def upload(
    s3: "S3Client", bucket: str, key: str, file: IO[bytes], size: int, metadata: dict[str, str]
) -> None:
    """Write an object from an open file, beginning at the file's current position.

    At most five parts are in memory at a time. Checksums are sent as headers, because not every
    service accepts trailers. If the upload fails, it is aborted. If the process is killed, it stays
    unfinished; ``list_uploads`` and ``abort_upload`` handle that.

    Parameters
    ----------
    s3 : botocore.client.S3
        The client.
    bucket : str
        Name of the bucket.
    key : str
        Full key of the object in the bucket.
    file : binary file
        Open for reading.
    size : int, bytes
        How many bytes follow. It decides the size of a part, at least 8 MiB.
    metadata : dict of str to str
        Metadata of the object. It must distinguish one content from another.

    Raises
    ------
    BotoCoreError, ClientError
        If a request fails.
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

    # Not a ThreadPoolExecutor: at exit the interpreter would wait for its threads, even hung ones.
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
            # The client retries a request whose response was lost, and the first one succeeded.
            if not _object_exists(s3, bucket, key, metadata):
                raise
    except BaseException:
        # Report the first error, not one of the cleanup.
        with suppress(BotoCoreError, ClientError):
            s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        raise


def _object_exists(s3: "S3Client", bucket: str, key: str, metadata: dict[str, str]) -> bool:
    with suppress(BotoCoreError, ClientError):
        return s3.head_object(Bucket=bucket, Key=key)["Metadata"] == metadata
    return False


def list_uploads(s3: "S3Client", bucket: str, prefix: str) -> Iterator[MultipartUpload]:
    """Yield the unfinished multipart uploads. Keys are the objects' full keys in the bucket.

    Parameters
    ----------
    s3 : botocore.client.S3
        The client.
    bucket : str
        Name of the bucket.
    prefix : str
        Beginning of the full keys.

    Yields
    ------
    MultipartUpload
        With the total size of the uploaded parts.

    Raises
    ------
    BotoCoreError, ClientError
        If a request fails.
    """
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Uploads", []):
            key, upload_id, size = entry["Key"], entry["UploadId"], 0
            try:
                pages = s3.get_paginator("list_parts")
                for parts in pages.paginate(Bucket=bucket, Key=key, UploadId=upload_id):
                    size += sum(part["Size"] for part in parts.get("Parts", []))
            except s3.exceptions.NoSuchUpload:
                continue
            yield MultipartUpload(key, upload_id, size, entry["Initiated"])


def abort_upload(s3: "S3Client", bucket: str, key: str, upload_id: str) -> None:
    """Abort a multipart upload; one that has ended is no error.

    Parameters
    ----------
    s3 : botocore.client.S3
        The client.
    bucket : str
        Name of the bucket.
    key : str
        Full key of the object in the bucket.
    upload_id : str
        S3's ID of the upload.

    Raises
    ------
    BotoCoreError, ClientError
        If the request fails.
    """
    with suppress(s3.exceptions.NoSuchUpload):
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
