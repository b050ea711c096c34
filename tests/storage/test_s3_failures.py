"""S3 servers that reject, are unreachable, hang or break off: each gives an error of one line."""

import io
import socket
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from config.errors import ConflictError, IntegrityError, StorageError
from storage import open_store
from storage.object_info import MultipartUpload
from storage.s3 import S3Store
from tests.s3 import BUCKET, SECRET_KEY, SeaweedFS, corrupting_proxy

LARGE = bytes(range(256)) * 80_000  # three parts


def _uses(store: S3Store) -> list[Callable[[], object]]:
    return [
        lambda: store.put("key", b"1"),
        lambda: store.put_file("key", io.BytesIO(LARGE)),
        lambda: store.get("key"),
        lambda: store.open_range("key", 0, 1).__enter__(),
        lambda: store.exists("key"),
        lambda: list(store.list_keys("key")),
        lambda: store.delete("key"),
        lambda: store.compare_and_swap("key", b"1", None),
        lambda: store.local_copy("key").__enter__(),
        lambda: list(store.list_uploads("key")),
        lambda: store.abort_upload(MultipartUpload("key", "id", 0, datetime.now(UTC))),
    ]


def _assert_error(use: Callable[[], object], *expected: str) -> None:
    with pytest.raises(StorageError) as caught:
        use()
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message
    assert SECRET_KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"AWS_SECRET_ACCESS_KEY": SECRET_KEY + "x"}, "http://127.0.0.1:"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "http://127.0.0.1:"),
        ({"AWS_ACCESS_KEY_ID": ""}, "no credentials"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "credentials for S3 are incomplete"),
    ],
)
def test_wrong_credentials_raise_storage_error(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], expected: str
) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
        if not value:
            monkeypatch.delenv(name)
    for use in _uses(s3_store):
        _assert_error(use, expected, "AWS_SECRET_ACCESS_KEY")


def test_missing_bucket_raises_storage_error(s3_store: S3Store) -> None:
    for use in _uses(S3Store("no-such-bucket", "p")):
        _assert_error(use, "bucket no-such-bucket does not exist at http://127.0.0.1:")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_PROFILE", "nobody"),
        ("AWS_ENDPOINT_URL_S3", "not an address"),
        ("AWS_ENDPOINT_URL_S3", f"http://user:{SECRET_KEY}@127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_S3", f"http://user:{SECRET_KEY}@:x"),
    ],
)
def test_invalid_settings_raise_storage_error(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    _assert_error(lambda: s3_store.get("key"), name)


def test_unreachable_server_raises_storage_error(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    store = S3Store(BUCKET, "p", attempts=1)
    for use in _uses(store):
        _assert_error(use, f"{endpoint} cannot be reached", "AWS_ENDPOINT_URL_S3", store.url)


def test_unresponsive_server_times_out(s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        for use in _uses(S3Store(BUCKET, "p", read_timeout=0.1)):
            start = time.monotonic()
            _assert_error(use, f"{endpoint} does not answer", f"s3://{BUCKET}/p")
            assert time.monotonic() - start < 10


def test_broken_body_is_resumed_at_its_offset(
    s3_store: S3Store, s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_store.put("object", LARGE)
    num_bytes = [0] * 1000

    def first_breaks_off(data: bytes, number: int) -> bytes | None:
        num_bytes[number] += len(data)
        return None if number == 0 and num_bytes[0] > 1_000_000 else data

    with corrupting_proxy(s3_server, first_breaks_off) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        assert open_store(s3_store.url).get("object") == LARGE
    max_header_bytes = 2_000
    assert num_bytes[0] > 1_000_000
    assert len(LARGE) <= num_bytes[0] + num_bytes[1] < len(LARGE) + (1 << 16) + max_header_bytes

    def others_break_off_later(data: bytes, number: int) -> bytes | None:
        num_bytes[number] += len(data)
        return None if num_bytes[number] > 9_000_000 else data

    num_bytes = [0] * 1000
    with corrupting_proxy(s3_server, others_break_off_later) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        with open_store(s3_store.url).open_range("object", 7, len(LARGE) - 7) as stream:
            assert stream.read() == LARGE[7:]
    assert all(num_bytes[:3])

    def all_break_off(data: bytes, number: int) -> bytes | None:
        num_bytes[number] += len(data)
        return None if num_bytes[number] > 1_000_000 else data

    num_bytes = [0] * 1000
    with corrupting_proxy(s3_server, all_break_off) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        with pytest.raises(IntegrityError, match=r"broke while reading s3://.*object"):
            open_store(s3_store.url).get("object")


def test_swap_with_lost_response_succeeds_once(
    s3_store: S3Store, s3_server: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = []

    def lose_first(data: bytes, number: int) -> bytes | None:
        if number == 0 and b"200 OK" in data:
            lost.append(data)
            return None
        return data

    with corrupting_proxy(s3_server, lose_first) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        open_store(s3_store.url).compare_and_swap("pointer", b"1", None)
        assert len(lost) == 1
        assert open_store(s3_store.url).get("pointer") == b"1"
        with pytest.raises(ConflictError, match="pointer"):
            open_store(s3_store.url).compare_and_swap("pointer", b"2", None)
