"""The contract of every store, tested on a folder and on a real S3 server."""

import io
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.errors import ConflictError, InputError, IntegrityError, NotFoundError, StorageError
from storage import ObjectStore, open_store


def test_object_round_trip(any_store: ObjectStore) -> None:
    any_store.put("a/b/c.bin", b"0123456789")
    assert any_store.exists("a/b/c.bin")
    assert not any_store.exists("a/b")
    assert any_store.get("a/b/c.bin") == b"0123456789"
    for offset, size, part in ((3, 4, b"3456"), (9, 1, b"9"), (3, 0, b""), (0, 10, b"0123456789")):
        with any_store.open_range("a/b/c.bin", offset, size) as stream:
            assert stream.read() == part
    with any_store.open_range("a/b/c.bin", 2, 5) as stream:
        assert [stream.read(2) for _ in range(4)] == [b"23", b"45", b"6", b""]
    with any_store.local_copy("a/b/c.bin") as path:
        assert path.read_bytes() == b"0123456789"
    any_store.put("a/b/c.bin", b"new")
    assert any_store.get("a/b/c.bin") == b"new"
    with any_store.local_copy("a/b/c.bin") as path:
        assert path.read_bytes() == b"new"
    any_store.put("a/b/c.bin", b"")
    assert any_store.get("a/b/c.bin") == b""
    any_store.delete("a/b/c.bin")
    any_store.delete("a/b/c.bin")
    assert not any_store.exists("a/b/c.bin")


@pytest.mark.parametrize("size", [0, 5, 20_000_000])
def test_put_file_writes_whole_file_and_leaves_it_open(any_store: ObjectStore, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"e" * (size % 256)
    with tempfile.TemporaryFile() as file:
        file.write(content)
        any_store.put_file("file", file)
        assert not file.closed
    assert any_store.get("file") == content
    any_store.put_file("memory", io.BytesIO(content))
    assert any_store.get("memory") == content
    with any_store.local_copy("file") as path:
        assert path.read_bytes() == content
    with tempfile.TemporaryFile() as file:
        file.write(b"before")
        any_store.get_file("file", file)
        file.seek(0)
        assert file.read() == b"before" + content
    if size:
        with any_store.open_range("file", 2, size - 2) as stream:
            assert b"".join(iter(lambda: stream.read(1 << 20), b"")) == content[2:]


def test_keys_are_listed_in_order(any_store: ObjectStore) -> None:
    keys = ["x/2", "x/10", "x/sub/1", "x/sub.a", "x/sub-b", "x/é", "x/😀", "x/a b", "x/a%20b"]
    for key in [*keys, "y/1", "xx/1"]:
        any_store.put(key, b"")
    assert list(any_store.list_keys("x")) == sorted(keys)
    assert list(any_store.list_keys("x/sub")) == ["x/sub/1"]
    assert list(any_store.list_keys("nothing")) == []


def test_objects_are_listed_with_size_and_time(any_store: ObjectStore) -> None:
    any_store.put("x/2", b"abc")
    any_store.put_file("x/10", io.BytesIO(bytes(20_000_000)))
    any_store.put("y", b"")
    first = {entry.key: entry for entry in any_store.list_objects("x")}
    assert [(key, entry.size) for key, entry in first.items()] == [("x/10", 20_000_000), ("x/2", 3)]
    assert all(
        abs(entry.modified - datetime.now(UTC)) < timedelta(minutes=2) for entry in first.values()
    )
    assert list(any_store.list_uploads("x")) == []
    assert list(any_store.list_objects("nothing")) == []
    time.sleep(1.1)  # S3 counts seconds
    any_store.put("x/2", b"abcd")
    again = {entry.key: entry for entry in any_store.list_objects("x")}
    assert again["x/10"] == first["x/10"]
    assert again["x/2"].size == 4
    assert again["x/2"].modified > first["x/2"].modified


def test_missing_object_raises_not_found(any_store: ObjectStore) -> None:
    for ask in (
        lambda: any_store.get("no/such"),
        lambda: any_store.get_file("no/such", io.BytesIO()),
        lambda: any_store.open_range("no/such", 0, 1).__enter__(),
        lambda: any_store.open_range("no/such", 0, 0).__enter__(),
        lambda: any_store.local_copy("no/such").__enter__(),
    ):
        with pytest.raises(NotFoundError, match="no/such"):
            ask()


@pytest.mark.parametrize("offset", [1, 3, 50])
def test_range_beyond_end_raises_integrity_error(any_store: ObjectStore, offset: int) -> None:
    any_store.put("short", b"abc")
    with pytest.raises(IntegrityError, match=r"short.* is truncated"):
        any_store.open_range("short", offset, 9).__enter__()


@pytest.mark.parametrize(
    "key",
    [
        *("", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/", "a\\b", "a\0b", "\ud800"),
        *(".icanvas-x", "a/.icanvas-x/b"),
    ],
)
def test_invalid_keys_are_rejected(any_store: ObjectStore, key: str) -> None:
    uses: list[Callable[[], object]] = [
        lambda: any_store.put(key, b""),
        lambda: any_store.put_file(key, io.BytesIO()),
        lambda: any_store.get(key),
        lambda: any_store.get_file(key, io.BytesIO()),
        lambda: any_store.open_range(key, 0, 1).__enter__(),
        lambda: any_store.exists(key),
        lambda: any_store.delete(key),
        lambda: any_store.location(key),
        lambda: list(any_store.list_keys(key)),
        lambda: list(any_store.list_uploads(key)),
        lambda: any_store.compare_and_swap(key, b"", None),
    ]
    for use in uses:
        with pytest.raises(StorageError, match="is not a valid key"):
            use()


@given(
    st.text(
        st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="/\\"), min_size=1
    ).filter(lambda name: name not in (".", "..") and len(name.encode()) < 250)
)
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_valid_name_round_trips(any_store: ObjectStore, name: str) -> None:
    key = f"folder/{name}"
    any_store.put(key, name.encode())
    assert any_store.get(key) == name.encode()
    assert list(any_store.list_keys("folder")) == [key]
    any_store.delete(key)


def test_swap_requires_expected_content(any_store: ObjectStore) -> None:
    with pytest.raises(ConflictError, match="pointer"):
        any_store.compare_and_swap("pointer", b"one", b"before")
    any_store.compare_and_swap("pointer", b"one", None)
    for expected in (None, b"other"):
        with pytest.raises(ConflictError, match="pointer"):
            any_store.compare_and_swap("pointer", b"two", expected)
    assert any_store.get("pointer") == b"one"
    any_store.compare_and_swap("pointer", b"two", b"one")
    assert any_store.get("pointer") == b"two"


@pytest.mark.parametrize("expected", [None, b"before"])
def test_one_of_twenty_concurrent_swaps_wins(
    any_store: ObjectStore, expected: bytes | None
) -> None:
    if expected is not None:
        any_store.put("pointer", expected)
    ready = threading.Barrier(20)
    won: list[bytes] = []
    lost: list[ConflictError] = []

    def swap(name: bytes) -> None:
        ready.wait()
        try:
            any_store.compare_and_swap("pointer", name, expected)
            won.append(name)
        except ConflictError as error:
            lost.append(error)

    _run([lambda n=n: swap(b"%d" % n) for n in range(20)])  # type: ignore[misc]
    assert (len(won), len(lost)) == (1, 19)
    assert any_store.get("pointer") == won[0]


def test_no_concurrent_swap_is_lost(any_store: ObjectStore) -> None:
    any_store.put("counter", b"0")

    def count() -> None:
        done = 0
        while done < 20:
            previous = any_store.get("counter")
            try:
                any_store.compare_and_swap("counter", str(int(previous) + 1).encode(), previous)
                done += 1
            except ConflictError:
                pass

    _run([count] * 4)
    assert any_store.get("counter") == b"80"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "file://host/x",
        "",
        "s3://",
        "s3:///prefix",
        "s3:/bucket/prefix",
        "s3:bucket",
        "S3://b",
        "s3://bucket//x",
        "s3://bucket/../x",
    ],
)
def test_invalid_store_url_is_rejected(url: str) -> None:
    with pytest.raises(InputError, match=r"file:///path|s3://bucket|ICANVAS_STORE|not a valid key"):
        open_store(url)


def _run(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
