"""The command killed and interrupted, with a folder as its store; `tests/faults` has the rest."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import LocalStore
from storage.pairsets import read_current, read_manifest
from storage.registry import Run
from tests.cli.test_app import ICANVAS, icanvas

pytestmark = pytest.mark.usefixtures("hed_weights")

ENTRY = """
name = "tiny"
title = "A few scenes"
shard_size = 2
val_share = 0.25
[source]
kind = "local"
path = "pictures"
[edges]
border = 16
[recipe]
epochs = 2
batch = 2
image_size = 64
generator_width = 8
discriminator_width = 8
"""


@pytest.fixture
def tiny(tmp_path: Path, make_folder: Callable[[int], Path]) -> dict[str, str]:
    """The environment of a catalogue of one's own with a quick data set of twelve pictures."""
    make_folder(12)
    (tmp_path / "tiny.toml").write_text(ENTRY)
    # An unreachable index: once the weights are in the cache no network may be needed.
    return {"ICANVAS_CATALOGUE": str(tmp_path), "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}


def signal_when(
    done: Callable[[], bool], which: signal.Signals, words: list[str], environment: dict[str, str]
) -> tuple[int, str]:
    """Start a command, send it (and nothing else) a signal as soon as something is done.

    Returns its exit code and what it printed, when it and all that it started have ended.
    """
    process = subprocess.Popen(
        ICANVAS + words,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    started: set[int] = set()
    while not done():
        assert process.poll() is None, "the command ended before it got the signal"
        assert time.monotonic() < deadline
        started |= descendants(process.pid)
        time.sleep(0.02)
    process.send_signal(which)
    _, printed = process.communicate(timeout=30)
    assert len(started) >= 2, "there was no embedded Prefect server"
    while any(Path(f"/proc/{child}").exists() for child in started):
        assert time.monotonic() < deadline, "the embedded Prefect server was left behind"
        time.sleep(0.1)
    return process.returncode, printed


def descendants(parent: int) -> set[int]:
    found: set[int] = set()
    for thread in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            children = {int(child) for child in thread.read_text().split()}
        except OSError:
            continue
        found |= children.union(*map(descendants, children))
    return found


def all_keys(store: LocalStore) -> list[str]:
    return [*store.list("datasets"), *store.list("models")]


def keys_with(store: LocalStore, part: str) -> list[str]:
    return [key for key in all_keys(store) if part in key]


def test_killed_it_goes_on_and_loses_nothing(
    tmp_path: Path, store: LocalStore, tiny: dict[str, str]
) -> None:
    """kill -9 in extraction; the next command makes what an undisturbed one makes, and trains."""
    undisturbed = LocalStore(tmp_path / "undisturbed")
    ended = icanvas("prepare", "tiny", "--store", undisturbed.url, **tiny)
    assert ended.returncode == 0, ended.stderr

    def shards() -> list[str]:
        return [key for key in keys_with(store, "/pairs/") if "/parts/" in key]

    signal_when(lambda: len(shards()) >= 2, signal.SIGKILL, ["prepare", "tiny"], tiny)
    assert read_current(store, "tiny") is None
    assert 2 <= len(shards()) < 6
    ended = icanvas("train", "tiny", **tiny)
    assert ended.returncode == 0, ended.stderr
    assert "ERROR" not in ended.stderr
    assert "Error" not in ended.stderr

    current = read_current(store, "tiny")
    assert current is not None
    rows = read_manifest(store, "tiny", current.fingerprint)
    assert len(rows) == 12
    assert len({row.source_path for row in rows}) == 12
    # Records hold the day, or the store's place.
    data = [key for key in undisturbed.list("datasets") if not key.endswith(".json")]
    assert data == [key for key in store.list("datasets") if not key.endswith(".json")]
    for key in data:
        assert store.get(key) == undisturbed.get(key), key
    run = keys_with(store, "/recipe.json")[0].split("/")[2]
    assert [record.epoch for record in Run(store, "tiny", run).checkpoints()] == [1, 2]
    for place in ("pairs", "contact sheet", "sample grid", "checkpoint"):
        line = next(line for line in ended.stdout.splitlines() if line.strip().startswith(place))
        assert Path(line.strip().removeprefix(place).strip()).exists()


def test_ctrl_c_ends_soon_and_says_how_to_go_on(
    store: LocalStore, tiny: dict[str, str], tmp_path: Path
) -> None:
    # One large shard: the rest of it must not be waited for.
    entry = (tmp_path / "tiny.toml").read_text()
    (tmp_path / "tiny.toml").write_text(entry.replace("shard_size = 2", "").replace("16", "128"))
    code, printed = signal_when(
        lambda: bool(keys_with(store, "index.parquet")), signal.SIGINT, ["prepare", "tiny"], tiny
    )
    assert code == 130
    assert "interrupted; the same command goes on from here" in printed
    assert "Traceback" not in printed
    assert not keys_with(store, "/pairs/"), "the whole shard was waited for"
