import threading

import numpy as np
import pytest

from serving.engines.batching import Batcher
from serving.engines.engine import Array
from tests.serving.engines.conftest import RunConcurrently


def make_condition(number: float) -> Array:
    return np.full((1, 2, 2), number, np.float32)


def test_single_call_runs_immediately() -> None:
    sizes: list[int] = []
    batcher = Batcher(lambda batch: batch * 2, 4, sizes.append)
    assert batcher(make_condition(3))[0, 0, 0] == 6
    assert sizes == [1]


def test_calls_during_a_batch_form_the_next_one(run_concurrently: RunConcurrently) -> None:
    sizes: list[int] = []
    started, released = threading.Event(), threading.Event()

    def run(batch: Array) -> Array:
        started.set()
        assert released.wait(30)
        return batch * 2

    batcher = Batcher(run, 4, sizes.append)
    first = threading.Thread(target=batcher, args=(make_condition(0),))
    first.start()
    assert started.wait(30)

    def release_when_all_wait() -> None:
        while len(batcher._pending) < 10:
            pass
        released.set()

    releaser = threading.Thread(target=release_when_all_wait)
    releaser.start()
    pictures = run_concurrently(batcher, [make_condition(number) for number in range(1, 11)])
    first.join()
    releaser.join()
    assert [picture[0, 0, 0] for picture in pictures] == [2 * number for number in range(1, 11)]
    assert sizes == [1, 4, 4, 2]


def test_error_reaches_its_whole_batch_only() -> None:
    fails = True

    def run(batch: Array) -> Array:
        if fails:
            raise RuntimeError("no memory")
        return batch

    batcher = Batcher(run, 4, lambda _count: None)
    with pytest.raises(RuntimeError, match="no memory"):
        batcher(make_condition(1))
    fails = False
    assert batcher(make_condition(1))[0, 0, 0] == 1
