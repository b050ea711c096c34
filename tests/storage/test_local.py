import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.errors import StorageError
from storage import LocalStore, open_store


def test_a_killed_write_leaves_the_old_object(store: LocalStore) -> None:
    store.put("a/object", b"old")
    script = f"""
import os, signal, storage.local as local
store = local.LocalStore(local.Path({str(store.location("x"))!r}).parent)
local.fsync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
store.put("a/object", b"new" * 1000)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -9
    assert store.get("a/object") == b"old"
    assert list(store.list_keys("a")) == ["a/object"]
    (left,) = store.list_uploads("a")
    assert (left.key, left.size) == ("a", 3000)
    assert abs(left.initiated - datetime.now(UTC)) < timedelta(minutes=2)
    store.abort_upload(left)
    store.abort_upload(left)
    assert list(store.list_uploads("a")) == []


def test_deletes_leave_no_folder_and_never_take_one_from_a_write(store: LocalStore) -> None:
    ends = time.monotonic() + 1

    def write_and_delete(number: int) -> int:
        rounds = 0
        while time.monotonic() < ends:
            store.put(f"a/b/{number}", b"there")
            assert store.get(f"a/b/{number}") == b"there"
            list(store.list_objects("a"))
            store.delete(f"a/b/{number}")
            rounds += 1
        return rounds

    with ThreadPoolExecutor(4) as pool:
        assert min(pool.map(write_and_delete, range(4))) > 10
    assert not Path(store.location("a")).exists()
    assert Path(store.location("a")).parent.exists()


def test_a_folder_that_cannot_be_listed_is_told(store: LocalStore) -> None:
    store.put("a/b/c", b"")
    folder = Path(store.location("a/b"))
    script = f"""
import os, errno, storage.local as local
def refuse(path):
    if str(path) == {str(folder)!r}:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return scan(path)
scan, os.scandir = os.scandir, refuse
list(local.LocalStore(local.Path({str(folder.parent.parent)!r})).list_keys("a"))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "cannot list a: Permission denied" in ended.stderr


def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--store"):
        LocalStore(tmp_path / "file" / "below")


def test_urls(tmp_path: Path) -> None:
    spaced = tmp_path / "with space é"
    assert open_store(spaced.as_uri()).location("k") == str(spaced / "k")
    assert open_store(str(spaced)).url == spaced.as_uri()
