import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.bounded_map import bounded_map


@given(
    delays=st.lists(st.floats(0, 0.004), max_size=12),
    ahead=st.integers(0, 5),
    threads=st.integers(1, 4),
)
@settings(deadline=None, max_examples=30)
def test_results_are_ordered_and_pending_items_bounded(
    delays: list[float], ahead: int, threads: int
) -> None:
    num_taken = 0

    def items() -> Iterator[tuple[int, float]]:
        nonlocal num_taken
        for item in enumerate(delays):
            num_taken += 1
            yield item

    def work(item: tuple[int, float]) -> int:
        time.sleep(item[1])
        return item[0]

    with ThreadPoolExecutor(threads) as pool:
        for number, result in enumerate(bounded_map(pool, work, items(), ahead)):
            assert result == number
            assert num_taken <= number + ahead + 1
    assert num_taken == len(delays)


def test_early_stop_cancels_queued_calls() -> None:
    num_started = 0
    go = threading.Semaphore(1)

    def work(number: int) -> int:
        nonlocal num_started
        num_started += 1
        assert go.acquire(timeout=30)
        return number

    with ThreadPoolExecutor(1) as pool:
        results = bounded_map(pool, work, range(20), max_pending=10)
        assert next(results) == 0
        results.close()  # type: ignore[attr-defined]
        go.release()
    assert num_started <= 2, "queued calls were executed"


def test_error_in_thread_is_raised() -> None:
    with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError):
        list(bounded_map(pool, lambda number: 1 // number, [2, 1, 0, 1], 2))
