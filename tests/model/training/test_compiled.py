"""A compiled run that is stopped, and goes on in a process that compiles anew."""

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


def go_on(folder: Path, code: Path, stop: int) -> None:
    """Train, compiling into a folder that nothing was compiled into before."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(code)
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
def test_a_compiled_run_goes_on_bit_by_bit(store: LocalStore, tmp_path: Path) -> None:
    """Stopped where the next batch is a small one: the first that the second process meets."""
    other = LocalStore(tmp_path / "other")
    for place in (store, other):
        publish_test_pairs(place, "tttttv")
    mine, theirs = (Path(place.location("x")).parent for place in (store, other))
    for folder, stop in ((theirs, 0), (mine, 2), (mine, 0)):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(go_on, folder, tmp_path / f"code-{folder.name}-{stop}", stop).result()
    assert read_run_files(store) == read_run_files(other)
