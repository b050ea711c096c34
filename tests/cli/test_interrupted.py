"""The command interrupted, with a folder as its store; `tests/faults` kills it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import LocalStore
from tests.cli.test_app import ICANVAS

pytestmark = pytest.mark.usefixtures("hed_weights")

# One large shard: the rest of it must not be waited for.
ENTRY = """
name = "tiny"
title = "A few scenes"
[source]
kind = "local"
path = "pictures"
[edges]
border = 128
"""


@pytest.fixture
def tiny(tmp_path: Path, make_folder: Callable[[int], Path]) -> dict[str, str]:
    """The environment of a catalogue of one's own with a quick data set of twelve pictures."""
    make_folder(12)
    (tmp_path / "tiny.toml").write_text(ENTRY)
    # An unreachable index: once the weights are in the cache no network may be needed.
    return {"ICANVAS_CATALOGUE": str(tmp_path), "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}


def interrupt_when(
    done: Callable[[], bool], words: list[str], environment: dict[str, str]
) -> tuple[int, str]:
    """Start a command, send it (and nothing else) Ctrl-C as soon as something is done.

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
        assert process.poll() is None, "the command ended before it was interrupted"
        assert time.monotonic() < deadline
        started |= descendants(process.pid)
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
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


def keys_with(store: LocalStore, part: str) -> list[str]:
    return [key for key in store.list("datasets") if part in key]


@pytest.mark.slow
def test_ctrl_c_ends_soon_and_says_how_to_go_on(store: LocalStore, tiny: dict[str, str]) -> None:
    code, printed = interrupt_when(
        lambda: bool(keys_with(store, "index.parquet")), ["prepare", "tiny"], tiny
    )
    assert code == 130
    assert "interrupted; the same command goes on from here" in printed
    assert "Traceback" not in printed
    assert not keys_with(store, "/pairs/"), "the whole shard was waited for"
