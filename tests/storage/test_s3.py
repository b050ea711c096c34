"""Behavior specific to S3. test_store.py tests the contract of every store."""

import hashlib
import io
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from config.errors import InputError, IntegrityError
from storage import open_store
from storage.s3 import S3Store
from tests.faults.faulty_proxy import Fault, ProxiedRequest, run_faulty_proxy
from tests.s3 import BUCKET, SeaweedFS

LARGE = bytes(range(256)) * 80_000  # three parts


def test_url_location_and_prefix(s3_store: S3Store) -> None:
    store = open_store(f"s3://{BUCKET}/some/prefix/")
    assert store.url == f"s3://{BUCKET}/some/prefix"
    assert store.location("a/b") == f"s3://{BUCKET}/some/prefix/a/b"
    bucket_store = open_store(f"s3://{BUCKET}")
    assert (bucket_store.url, bucket_store.location("k")) == (f"s3://{BUCKET}", f"s3://{BUCKET}/k")
    name = s3_store.url.rpartition("/")[2]
    bucket_store.put(f"tests/{name}/k", b"there")
    assert s3_store.get("k") == b"there"
    assert list(bucket_store.list_keys(f"tests/{name}")) == [f"tests/{name}/k"]


def test_url_with_secret_is_rejected_without_repeating_it() -> None:
    for url in ("s3://key:hunter2@bucket/x", "s3://bucket:hunter2/x"):
        with pytest.raises(InputError, match="docs/storage") as caught:
            open_store(url)
        assert "hunter2" not in str(caught.value)


def test_store_can_be_pickled(s3_store: S3Store) -> None:
    s3_store.put("k", b"1")
    copy = pickle.loads(pickle.dumps(s3_store))
    assert copy.url == s3_store.url
    assert copy.get("k") == b"1"


def test_listing_spans_several_pages(s3_store: S3Store, s3_server: SeaweedFS) -> None:
    names = [f"{n:04d}" + ("/sub" if n % 10 == 0 else "") for n in range(1010)]
    client, root = s3_server.client(), s3_store.location("all").split("/", 3)[3]

    def put(part: list[str]) -> None:
        for name in part:
            client.put_object(Bucket=BUCKET, Key=f"{root}/{name}", Body=b"")

    threads = [threading.Thread(target=put, args=[names[n::4]]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.put_object(Bucket=BUCKET, Key=f"{root}/made-by-a-console/", Body=b"")
    assert list(s3_store.list_keys("all")) == [f"all/{name}" for name in names]


@pytest.mark.parametrize("content", [b"small" * 100, LARGE])
@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c[:99] + b"?" + c[100:]])
def test_corrupt_object_raises_integrity_error(
    s3_store: S3Store, s3_server: SeaweedFS, content: bytes, damage: Callable[[bytes], bytes]
) -> None:
    s3_store.put("object", content)
    with s3_store.local_copy("object") as path:
        assert path.read_bytes() == content
    client, key = s3_server.client(), s3_store.location("object").split("/", 3)[3]
    head = client.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
    assert head["Metadata"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert ("-3" in head["ChecksumSHA256"]) == (content is LARGE)
    client.put_object(Bucket=BUCKET, Key=key, Body=damage(content), Metadata=head["Metadata"])
    with pytest.raises(IntegrityError, match="object fails its SHA-256"):
        s3_store.get("object")
    with (
        pytest.raises(IntegrityError, match="object fails its SHA-256"),
        s3_store.local_copy("object"),
    ):
        pass


def test_object_without_our_metadata_can_be_read(s3_store: S3Store, s3_server: SeaweedFS) -> None:
    key = s3_store.location("theirs").split("/", 3)[3]
    s3_server.client().upload_fileobj(io.BytesIO(LARGE), BUCKET, key)
    assert s3_store.get("theirs") == LARGE
    for _ in range(2):
        with s3_store.local_copy("theirs") as path:
            assert path.read_bytes() == LARGE


def test_transfers_use_bounded_memory(s3_store: S3Store) -> None:
    script = f"""
import hashlib, os, resource, tempfile
from storage import open_store
store = open_store({s3_store.url!r})
store.put("small", b"1")
with store.local_copy("small"):
    pass
with tempfile.TemporaryFile() as file:
    for n in range(200):
        file.write(n.to_bytes() * 1_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store.put_file("large", file)
    sent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with store.local_copy("large") as path:
    assert path.stat().st_size == 200_000_000
    got = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((sent - before) >> 10, (got - sent) >> 10)
"""
    process = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    upload_mb, download_mb = map(int, process.stdout.split())
    assert upload_mb < 80
    assert download_mb < 10


def test_killed_upload_leaves_no_object_and_can_be_aborted(s3_store: S3Store) -> None:
    script = f"""
import io, time
from storage import open_store
class Slow(io.BytesIO):
    def read(self, size=-1):
        time.sleep(0.3 if size > 1 << 20 else 0)
        return super().read(size)
open_store({s3_store.url!r}).put_file("a/object", Slow(bytes(100_000_000)))
"""
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not any(upload.size for upload in s3_store.list_uploads("a")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not s3_store.exists("a/object")
    assert list(s3_store.list_objects("a")) == []
    assert list(s3_store.list_uploads("b")) == []
    (upload,) = s3_store.list_uploads("a")
    assert upload.key == "a/object"
    assert upload.size % (8 << 20) == 0
    assert abs(upload.initiated - datetime.now(UTC)) < timedelta(minutes=2)
    s3_store.abort_upload(upload)
    s3_store.abort_upload(upload)
    assert list(s3_store.list_uploads("a")) == []
    s3_store.put("a/object", b"again")
    assert s3_store.get("a/object") == b"again"


def test_lost_response_to_complete_upload_is_no_error(
    s3_store: S3Store, s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client retries the request; some services do not know a completed upload any more."""
    requests: list[ProxiedRequest] = []
    error_body = b"<Error><Code>NoSuchUpload</Code><Message>Which one?</Message></Error>"

    def lose_first(request: ProxiedRequest) -> Fault | None:
        if request.method != "POST" or "uploadId" not in request.query:
            return None
        requests.append(request)
        return Fault("lost") if len(requests) == 1 else Fault("status", status=404, body=error_body)

    with run_faulty_proxy(s3_server) as proxy, monkeypatch.context() as patch:
        proxy.fault = lose_first
        patch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
        open_store(s3_store.url).put_file("object", io.BytesIO(LARGE))
    assert len(requests) == 2
    assert s3_store.get("object") == LARGE


def test_identity_differs_between_services(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = s3_store.identity
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    other_store = open_store(s3_store.url)
    assert other_store.url == s3_store.url
    assert other_store.identity != identity


def test_failed_upload_is_aborted(s3_store: S3Store, s3_server: SeaweedFS) -> None:
    class Broken(io.BytesIO):
        parts = 0

        def read(self, size: int | None = -1) -> bytes:
            if size is not None and size > 1 << 20:
                self.parts += 1
                if self.parts == 3:
                    raise OSError("gone")
            return super().read(size)

    with pytest.raises(OSError, match="gone"):
        s3_store.put_file("object", Broken(LARGE))
    root = s3_store.location("object").split("/", 3)[3]
    assert not s3_server.client().list_multipart_uploads(Bucket=BUCKET, Prefix=root).get("Uploads")
    assert not s3_store.exists("object")
