import subprocess
import sys
from pathlib import Path

import pytest

from errors import StorageError
from storage import LocalStore, open_store


def test_a_killed_write_leaves_the_old_object(store: LocalStore) -> None:
    store.put("object", b"old")
    script = f"""
import os, signal, storage.local as local
store = local.LocalStore(local.Path({str(store.location("x"))!r}).parent)
local.sync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
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
