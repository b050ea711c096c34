import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.errors import StorageError
from storage import LocalStore, open_store


def test_killed_write_leaves_old_object_and_abortable_upload(store: LocalStore) -> None:
    store.put("a/object", b"old")
    script = f"""
import os, signal, storage.local as local
store = local.LocalStore(local.Path({str(store.location("x"))!r}).parent)
local.fsync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
store.put("a/object", b"new" * 1000)
"""
    process = subprocess.run([sys.executable, "-c", script], check=False)
    assert process.returncode == -9
    assert store.get("a/object") == b"old"
    assert list(store.list_keys("a")) == ["a/object"]
    (upload,) = store.list_uploads("a")
    assert (upload.key, upload.size) == ("a", 3000)
    assert abs(upload.initiated - datetime.now(UTC)) < timedelta(minutes=2)
    store.abort_upload(upload)
    store.abort_upload(upload)
    assert list(store.list_uploads("a")) == []


def test_concurrent_deletes_never_break_writes_and_leave_no_folder(store: LocalStore) -> None:
    deadline = time.monotonic() + 1

    def write_and_delete(number: int) -> int:
        rounds = 0
        while time.monotonic() < deadline:
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


def test_unlistable_folder_raises_storage_error(store: LocalStore) -> None:
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
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "cannot list a: Permission denied" in process.stderr


def test_uncreatable_root_raises_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--store"):
        LocalStore(tmp_path / "file" / "below")


def test_file_urls_and_paths_open_the_same_store(tmp_path: Path) -> None:
    spaced = tmp_path / "with space é"
    assert open_store(spaced.as_uri()).location("k") == str(spaced / "k")
    assert open_store(str(spaced)).url == spaced.as_uri()
