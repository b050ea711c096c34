import threading

import numpy as np
import pytest

from serving.engines.batching import Batcher
from serving.engines.engine import Array
from tests.serving.engines.conftest import RunConcurrently


def make_condition(number: float) -> Array:
    return np.full((1, 2, 2), number, np.float32)


def test_one_alone_does_not_wait() -> None:
    sizes: list[int] = []
    batcher = Batcher(lambda batch: batch * 2, 4, sizes.append)
    assert batcher(make_condition(3))[0, 0, 0] == 6
    assert sizes == [1]


def test_what_comes_meanwhile_is_the_next_batch(together: RunConcurrently) -> None:
    sizes: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def run(batch: Array) -> Array:
        begun.set()
        assert go.wait(30)
        return batch * 2

    batcher = Batcher(run, 4, sizes.append)
    first = threading.Thread(target=batcher, args=(make_condition(0),))
    first.start()
    assert begun.wait(30)

    def wait_for_all() -> None:
        while len(batcher._pending) < 10:
            pass
        go.set()

    opener = threading.Thread(target=wait_for_all)
    opener.start()
    found = together(batcher, [make_condition(number) for number in range(1, 11)])
    first.join()
    opener.join()
    assert [one[0, 0, 0] for one in found] == [2 * number for number in range(1, 11)]
    assert sizes == [1, 4, 4, 2]


def test_an_error_reaches_all_of_its_batch_and_nobody_else() -> None:
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
