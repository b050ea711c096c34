import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import ConflictError, InputError, IntegrityError, NotFoundError, StorageError
from storage import LocalStore, open_store


def test_an_object_comes_back(store: LocalStore, tmp_path: Path) -> None:
    store.put("a/b/c.bin", b"0123456789")
    assert store.exists("a/b/c.bin")
    assert store.get("a/b/c.bin") == b"0123456789"
    assert store.get_range("a/b/c.bin", 3, 4) == b"3456"
    with store.open_local("a/b/c.bin") as path:
        assert path.read_bytes() == b"0123456789"
    (tmp_path / "file").write_bytes(b"new")
    with (tmp_path / "file").open("rb") as file:
        file.read(1)
        store.put_file("a/b/c.bin", file)
    assert store.get("a/b/c.bin") == b"new"
    store.delete("a/b/c.bin")
    store.delete("a/b/c.bin")
    assert not store.exists("a/b/c.bin")


def test_keys_are_listed_in_order(store: LocalStore) -> None:
    for key in ("x/2", "x/10", "x/sub/1", "y/1"):
        store.put(key, b"")
    assert list(store.list("x")) == ["x/10", "x/2", "x/sub/1"]
    assert list(store.list("nothing")) == []


def test_what_is_missing_is_told(store: LocalStore) -> None:
    for ask in (
        lambda: store.get("no/such"),
        lambda: store.get_range("no/such", 0, 1),
        lambda: store.open_local("no/such").__enter__(),
    ):
        with pytest.raises(NotFoundError, match="no/such"):
            ask()


def test_a_range_beyond_the_end_is_told(store: LocalStore) -> None:
    store.put("short", b"abc")
    with pytest.raises(IntegrityError, match="short"):
        store.get_range("short", 1, 9)


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a\\b", "a\0b", ".icanvas-x"]
)
def test_only_plain_relative_keys_reach_the_disk(store: LocalStore, key: str) -> None:
    with pytest.raises(StorageError, match="is not a key"):
        store.put(key, b"")
    with pytest.raises(StorageError, match="is not a key"):
        store.get(key)


@given(
    st.text(
        st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="/\\"), min_size=1
    ).filter(lambda name: name not in (".", "..") and len(name.encode()) < 250)
)
@settings(max_examples=50, deadline=None)
def test_any_other_name_does(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder))
        store.put(f"folder/{name}", name.encode())
        assert store.get(f"folder/{name}") == name.encode()


def test_swap_needs_the_expected_content(store: LocalStore) -> None:
    store.compare_and_swap("pointer", b"one", None)
    with pytest.raises(ConflictError, match="pointer"):
        store.compare_and_swap("pointer", b"two", None)
    with pytest.raises(ConflictError, match="pointer"):
        store.compare_and_swap("pointer", b"two", b"other")
    assert store.get("pointer") == b"one"
    store.compare_and_swap("pointer", b"two", b"one")
    assert store.get("pointer") == b"two"


def test_of_many_swaps_at_once_each_counts(store: LocalStore) -> None:
    store.put("counter", b"0")

    def count() -> None:
        done = 0
        while done < 20:
            before = store.get("counter")
            try:
                store.compare_and_swap("counter", str(int(before) + 1).encode(), before)
                done += 1
            except ConflictError:
                pass

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("counter") == b"80"


def test_a_killed_write_leaves_the_old_object(store: LocalStore) -> None:
    store.put("object", b"old")
    script = f"""
import os, signal, storage.local as local
store = local.LocalStore(local.Path({str(store.location("x"))!r}).parent)
local._sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
store.put("object", b"new" * 1000)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -9
    assert store.get("object") == b"old"


def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--store"):
        LocalStore(tmp_path / "file" / "below")


def test_urls(tmp_path: Path) -> None:
    spaced = tmp_path / "with space é"
    assert open_store(spaced.as_uri()).location("k") == str(spaced / "k")
    assert open_store(str(spaced)).url == spaced.as_uri()
    for url in ("ftp://host/x", "file://host/x", ""):
        with pytest.raises(InputError, match=r"file:///path|ICANVAS_STORE"):
            open_store(url)
