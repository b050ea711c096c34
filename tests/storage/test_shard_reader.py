"""``ShardReader`` on real stores."""

import pickle
import random
import resource
from contextlib import suppress
from pathlib import Path

import pytest

from config.errors import CorruptObjectError, NotFoundError
from config.settings import get_settings
from storage import LocalStore, ObjectStore, shard_reader
from storage.s3 import S3Store
from storage.shard_reader import ShardReader
from tests.storage.contents import observe_calls

SHARDS = {f"shards/{number}.tar": bytes([number]) * 100 + b"end" for number in range(5)}


def fill(store: ObjectStore) -> None:
    for key, data in SHARDS.items():
        store.put(key, data)


def test_members_are_read_as_stored(
    any_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with fewer open files than shards, and in another process."""
    monkeypatch.setattr(shard_reader, "_max_open_shards", lambda: 2)
    fill(any_store)
    shards = ShardReader(any_store, 1000)
    assert shards.read("shards/1.tar", 99, 3) == b"\1en"
    for reader in (shards, pickle.loads(pickle.dumps(shards))):
        for key in random.Random(0).choices(list(SHARDS), k=30):
            assert reader.read(key, 98, 5) == SHARDS[key][98:103]
    assert len(shards._open_shards) == 2
    with pytest.raises(CorruptObjectError, match=r"1.tar is truncated: 3 of 4 bytes at offset 100"):
        shards.read("shards/1.tar", 100, 4)
    with pytest.raises(NotFoundError):
        shards.read("shards/9.tar", 0, 1)


def test_descriptor_limit_is_raised_and_respected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    new_limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: new_limits.append(limits))
    for limits, count in (
        ((1024, 1 << 20), 1920),
        ((1024, 4096), 896),
        ((1 << 20, 1 << 20), 1920),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 1920),
        ((256, 256), 16),
    ):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limits: limit)
        assert shard_reader._max_open_shards() == count
    assert new_limits == [(8192, 1 << 20), (4096, 4096)]


def test_s3_shard_is_requested_once_if_it_fits_the_cache(
    s3_store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(s3_store)
    for cache_gb, calls in ((20.0, {"local_copy": 5}), (300e-9, {"open_range": 20})):
        monkeypatch.setenv("ICANVAS_SHARD_CACHE_GB", str(cache_gb))
        get_settings.cache_clear()
        names: list[str] = []
        shards = ShardReader(observe_calls(s3_store, names.append), 515)
        for key in 4 * list(SHARDS):
            assert shards.read(key, 0, 103) == SHARDS[key]
        del names[0]  # the call of fits_cache
        assert {call: names.count(call) for call in names} == calls


def list_open(folder: Path) -> list[str]:
    """Return the names of the shards in a folder that this process holds open.

    Limited to the folder, because readers of other tests may not be collected yet.
    """
    names = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            path = descriptor.readlink()
            if path.is_relative_to(folder) and path.suffix == ".tar":
                names.append(path.name)
    return sorted(names)


def test_files_are_closed_with_the_reader(store: LocalStore, tmp_path: Path) -> None:
    fill(store)
    shards = ShardReader(store, 1000)
    for key in SHARDS:
        shards.read(key, 0, 1)
    assert list_open(tmp_path) == [Path(key).name for key in SHARDS]
    del shards
    assert list_open(tmp_path) == []
