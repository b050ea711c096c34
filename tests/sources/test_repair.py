"""Corrupt raw shards are marked as not acquired, intact ones are not."""

import hashlib
import io

import pytest

from sources import delete_corrupt_shard
from storage import keys
from storage.manifest import ManifestRow, rows_to_parquet
from storage.s3 import S3Store
from storage.shards import ShardWriter
from tests.s3 import BUCKET, SeaweedFS


@pytest.mark.parametrize(
    ("length", "is_corrupt"),
    [
        pytest.param(None, False, id="complete"),
        pytest.param(600, True, id="truncated in a file"),
        pytest.param(-512, True, id="truncated after the last file"),
    ],
)
def test_truncated_shard_is_corrupt(
    s3_store: S3Store, s3_server: SeaweedFS, length: int | None, is_corrupt: bool
) -> None:
    content, shard = b"a picture" * 100, io.BytesIO()
    with ShardWriter(shard) as writer:
        row = ManifestRow(
            "0", "a.png", 0, "pair", offset=writer.add("a.png", content), size=len(content)
        )
        row.sha256 = hashlib.sha256(content).hexdigest()
    folder = keys.raw_folder("demo", "raw")
    key, part = f"{folder}/{keys.shard_name(0)}", f"{folder}/{keys.part_name(0)}"
    s3_store.put(key, shard.getvalue())
    s3_store.put(part, rows_to_parquet([row]))
    if length is not None:
        client, name = s3_server.client(), s3_store.location(key).split("/", 3)[3]
        metadata = client.head_object(Bucket=BUCKET, Key=name)["Metadata"]
        truncated = shard.getvalue()[:length]
        client.put_object(Bucket=BUCKET, Key=name, Body=truncated, Metadata=metadata)
    assert delete_corrupt_shard(s3_store, "demo", "raw", 0) == is_corrupt
    assert s3_store.exists(part) != is_corrupt
