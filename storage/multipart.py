"""Large objects in parts, several at once, each with its SHA-256."""

import hashlib
from base64 import b64encode
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

# What is smaller goes in one request.
THRESHOLD = 16 << 20

_PART = 8 << 20
_MOST_PARTS = 10_000
_THREADS = 4


def upload(
    s3: "S3Client", bucket: str, key: str, file: IO[bytes], size: int, metadata: dict[str, str]
) -> None:
    """Write an object from a file's present position on.

    At most five parts are in memory at once. Checksums go as headers: not every service takes
    trailers. An upload that fails is aborted; one whose process is killed stays unfinished, which
    ``abort_stale`` mends.

    Parameters
    ----------
    s3, bucket, key : where to.
    file : the bytes.
    size : how many they are; it decides the size of a part.
    metadata : kept with the object.

    Raises
    ------
    BotoCoreError, ClientError
        As the client does.
    """
    part_size = max(_PART, -(-size // _MOST_PARTS))
    upload_id = s3.create_multipart_upload(
        Bucket=bucket, Key=key, Metadata=metadata, ChecksumAlgorithm="SHA256"
    )["UploadId"]

    def send(number: int, data: bytes) -> "CompletedPartTypeDef":
        checksum = b64encode(hashlib.sha256(data).digest()).decode()
        sent = s3.upload_part(
            Bucket=bucket,
            Key=key,
            UploadId=upload_id,
            PartNumber=number,
            Body=data,
            ChecksumSHA256=checksum,
        )
        return {"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": checksum}

    try:
        parts: list[CompletedPartTypeDef] = []
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="upload") as pool:
            running: deque[Future[CompletedPartTypeDef]] = deque()
            for number, data in enumerate(iter(lambda: file.read(part_size), b""), 1):
                if len(running) == _THREADS:
                    parts.append(running.popleft().result())
                running.append(pool.submit(send, number, data))
            parts += [future.result() for future in running]
        s3.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
        )
    except BaseException:
        # The first error is the one to tell.
        with suppress(BotoCoreError, ClientError):
            s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        raise


def abort_stale(s3: "S3Client", bucket: str, prefix: str, older_than: timedelta) -> int:
    """Abort uploads that began before that long ago and never ended; return how many.

    Raises
    ------
    BotoCoreError, ClientError
        As the client does.
    """
    aborted = 0
    before = datetime.now(UTC) - older_than
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
        for begun in page.get("Uploads", []):
            if begun["Initiated"] < before:
                s3.abort_multipart_upload(
                    Bucket=bucket, Key=begun["Key"], UploadId=begun["UploadId"]
                )
                aborted += 1
    return aborted
