"""A compiled run that is stopped and resumed in a process that compiles again."""

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from model.training.callbacks import TrainingStopped
from storage import LocalStore
from tests.model.pairs import publish_test_pairs
from tests.model.training.test_train import SMALL, read_run_files, train_small

COMPILED = SMALL.model_copy(update={"compile": "on", "precision": "f32", "epochs": 2})


def train_in_process(folder: Path, code_folder: Path, stop: int) -> None:
    """Train with an empty compilation cache; stop after a step, or not at all (0)."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(code_folder)
    steps: list[int] = []
    try:
        train_small(
            LocalStore(folder),
            recipe=COMPILED,
            on_step=lambda done, _: steps.append(done),
            should_stop=lambda: steps[-1] == stop,
        )
    except TrainingStopped:
        assert steps[-1] == stop
    else:
        assert not stop


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_resumed_compiled_run_equals_uninterrupted_run(store: LocalStore, tmp_path: Path) -> None:
    """The run is stopped before a small batch, so that the second process compiles that first."""
    other = LocalStore(tmp_path / "other")
    for target in (store, other):
        publish_test_pairs(target, "tttttv")
    folder_a, folder_b = (Path(target.location("x")).parent for target in (store, other))
    for folder, stop in ((folder_b, 0), (folder_a, 2), (folder_a, 0)):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(
                train_in_process, folder, tmp_path / f"code-{folder.name}-{stop}", stop
            ).result()
    assert read_run_files(store) == read_run_files(other)
