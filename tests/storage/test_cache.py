import hashlib
import os
import threading
import time
from functools import partial
from pathlib import Path
from typing import IO

import pytest

from config.errors import StorageError
from config.settings import get_settings
from storage import cache
from storage.cache import ShardCache
from storage.s3 import S3Store


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_verified", set())


class Source:
    """Content of 1000 bytes, with a count of how often it was fetched."""

    def __init__(self, name: str, size: int = 1000) -> None:
        self.name = hashlib.sha256(name.encode()).hexdigest()[:12]
        self.content = name[:1].encode() * size
        self.fetched = 0

    def fetch(self, file: IO[bytes]) -> str:
        self.fetched += 1
        time.sleep(0.02)
        file.write(self.content)
        return hashlib.sha256(self.content).hexdigest()

    def read(self, shards: ShardCache) -> bytes:
        with shards.acquire(self.name, len(self.content), self.fetch) as path:
            return path.read_bytes()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def test_cached_file_is_not_fetched_again(tmp_path: Path) -> None:
    shards, source = ShardCache(tmp_path / "shards", 10_000), Source("a")
    for _ in range(3):
        assert source.read(shards) == source.content
    assert source.fetched == 1


def test_fits_counts_limit_evictable_files_and_free_space(tmp_path: Path) -> None:
    shards = ShardCache(tmp_path / "shards", 2_500)
    for name in "ab":
        Source(name).read(shards)
    assert shards.fits(2_500), "what is there can go"
    assert not shards.fits(2_501)
    assert not ShardCache(tmp_path, 2**62).fits(2**61), "the disk is smaller"
    (tmp_path / "file").write_bytes(b"")
    assert not ShardCache(tmp_path / "file" / "shards", 10_000).fits(1)


def test_concurrent_readers_fetch_once(tmp_path: Path) -> None:
    shards, source = ShardCache(tmp_path, 10_000), Source("a")
    contents: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: contents.append(source.read(shards))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents == [source.content] * 16
    assert source.fetched == 1


@pytest.mark.parametrize("damage", [b"", b"a" * 999, b"a" * 999 + b"b"])
def test_corrupt_file_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    shards, source = ShardCache(tmp_path, 10_000), Source("a")
    source.read(shards)
    (file,) = _files(tmp_path)
    file.write_bytes(damage)
    monkeypatch.setattr(cache, "_verified", set())  # another process
    assert source.read(shards) == source.content
    assert source.fetched == 2
    assert len(_files(tmp_path)) == 1


def test_least_recently_used_file_is_evicted_first(tmp_path: Path) -> None:
    shards = ShardCache(tmp_path, 3000)
    a, b, c, d = (Source(name) for name in "abcd")
    for age, source in enumerate((c, b, a)):
        source.read(shards)
        (file,) = tmp_path.glob(f"{source.name}-*")
        os.utime(file, (1000 + age, 1000 + age))
    assert len(_files(tmp_path)) == 3
    c.read(shards)  # the oldest is used again
    d.read(shards)
    assert {path.name[:12] for path in _files(tmp_path)} == {c.name, d.name, a.name}


def test_file_in_use_is_not_evicted(tmp_path: Path) -> None:
    shards = ShardCache(tmp_path, 2000)
    in_use, other, third = Source("h"), Source("o"), Source("t")
    with shards.acquire(in_use.name, 1000, in_use.fetch) as path:
        os.utime(path, (1000, 1000))
        for source in (other, third):
            source.read(shards)
        assert path.read_bytes() == in_use.content
    assert {path.name[:12] for path in _files(tmp_path)} == {in_use.name, third.name}


def test_stale_partial_files_are_deleted(tmp_path: Path) -> None:
    for name, age in ((".part-old", 2 * 24 * 3600), (".part-new", 60)):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    Source("a").read(ShardCache(tmp_path, 10_000))
    assert [path.name for path in tmp_path.glob(".part-*")] == [".part-new"]


def test_failed_fetch_leaves_no_file(tmp_path: Path) -> None:
    def fetch(file: IO[bytes]) -> str:
        file.write(b"half")
        raise ValueError("broken off")

    with (
        pytest.raises(ValueError, match="broken off"),
        ShardCache(tmp_path, 100).acquire("ab", 9, fetch),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".lock-ab"]


@pytest.mark.parametrize("limit", [0, 999])
def test_file_above_limit_is_temporary(tmp_path: Path, limit: int) -> None:
    shards, source = ShardCache(tmp_path / "shards", limit), Source("a")
    with shards.acquire(source.name, 1000, source.fetch) as path:
        assert path.read_bytes() == source.content
    assert not path.exists()
    assert not (tmp_path / "shards").exists()


def test_unusable_folder_falls_back_to_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    shards, source = ShardCache(tmp_path / "file" / "shards", 10_000), Source("a")
    assert source.read(shards) == source.content


def test_error_in_with_block_is_passed_on(tmp_path: Path) -> None:
    source = Source("a")
    with (
        pytest.raises(OSError, match="mine"),
        ShardCache(tmp_path, 10_000).acquire(source.name, 1000, source.fetch),
    ):
        raise OSError("mine")
    assert source.fetched == 1


def test_s3_shard_is_fetched_again_only_after_a_change(s3_store: S3Store) -> None:
    s3_store.put("shard", b"one")
    paths = []
    for _ in range(2):
        with s3_store.local_copy("shard") as path:
            assert path.read_bytes() == b"one"
            paths.append(path)
    assert paths[0] == paths[1]
    assert paths[0].parent == get_settings().cache / "shards"
    s3_store.put("shard", b"two")
    with s3_store.local_copy("shard") as path:
        assert path.read_bytes() == b"two"


def test_full_disk_raises_one_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lack of space is noticed only when the file is closed."""
    (tmp_path / "file").write_bytes(b"")
    shards, source = ShardCache(tmp_path / "file" / "shards", 10_000), Source("a")
    full = partial(open, "/dev/full", "wb")
    monkeypatch.setattr("tempfile.NamedTemporaryFile", lambda **_: full())
    with pytest.raises(StorageError, match=r"Writing a local copy.*No space left"):
        source.read(shards)
