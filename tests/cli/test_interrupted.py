"""Interrupt the command with a local store; ``tests/faults`` kills it with S3."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import LocalStore
from tests.cli.test_app import ICANVAS_COMMAND

pytestmark = pytest.mark.usefixtures("hed_weights")

# One large shard, so that waiting for its end would be noticed.
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
def tiny_environment(tmp_path: Path, make_folder: Callable[[int], Path]) -> dict[str, str]:
    """Return an environment with a catalogue that holds a small data set of twelve pictures."""
    make_folder(12)
    (tmp_path / "tiny.toml").write_text(ENTRY)
    # An unreachable package index: with cached weights no network may be used.
    return {"ICANVAS_CATALOGUE": str(tmp_path), "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}


def interrupt_when(
    condition: Callable[[], bool], arguments: list[str], environment: dict[str, str]
) -> tuple[int, str]:
    """Start a command, and send SIGINT to its process alone when a condition holds.

    Returns its exit code and standard error, after it and its child processes have ended.
    """
    process = subprocess.Popen(
        ICANVAS_COMMAND + arguments,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    children: set[int] = set()
    while not condition():
        assert process.poll() is None, "the command ended before it was interrupted"
        assert time.monotonic() < deadline
        children |= list_descendants(process.pid)
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, output = process.communicate(timeout=30)
    assert len(children) >= 2, "no embedded Prefect server was started"
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "the embedded Prefect server was left behind"
        time.sleep(0.1)
    return process.returncode, output


def list_descendants(parent: int) -> set[int]:
    pids: set[int] = set()
    for thread in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            children = {int(child) for child in thread.read_text().split()}
        except OSError:
            continue
        pids |= children.union(*map(list_descendants, children))
    return pids


def list_keys_with(store: LocalStore, part: str) -> list[str]:
    return [key for key in store.list_keys("datasets") if part in key]


@pytest.mark.slow
def test_ctrl_c_exits_soon_and_says_how_to_resume(
    store: LocalStore, tiny_environment: dict[str, str]
) -> None:
    code, printed = interrupt_when(
        lambda: bool(list_keys_with(store, "index.parquet")), ["prepare", "tiny"], tiny_environment
    )
    assert code == 130
    assert "interrupted; run the same command again to resume" in printed
    assert "Traceback" not in printed
    assert not list_keys_with(store, "/pairs/"), "the command waited for the whole shard"
