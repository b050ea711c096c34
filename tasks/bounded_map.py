"""A thread-pool map with a bounded number of pending items."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def bounded_map(
    executor: ThreadPoolExecutor,
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    max_pending: int,
) -> Iterator[_Result]:
    """Compute ``function(item)`` for each item in threads, and yield the results in order.

    At most `max_pending` calls and unconsumed results exist beside the current one, so memory use
    does not depend on the number of items. If the consumer stops early, queued calls are canceled.

    Parameters
    ----------
    executor : ThreadPoolExecutor
        Runs the calls.
    function : callable
        Called with one item.
    items : iterable
        Consumed lazily, in the caller's thread.
    max_pending : int
        Number of items submitted ahead of the one that is yielded, at least 0.

    Yields
    ------
    object
        Results in the order of the items. An error of a call is raised at the position of its
        item.

    Examples
    --------
    >>> with ThreadPoolExecutor(2) as executor:
    ...     list(bounded_map(executor, lambda number: number**2, range(4), max_pending=2))
    [0, 1, 4, 9]
    """
    futures: deque[Future[_Result]] = deque()
    try:
        for item in items:
            futures.append(executor.submit(function, item))
            while futures and (len(futures) > max_pending or futures[0].done()):
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        # A consumer that stops early must not wait for queued calls.
        for future in futures:
            future.cancel()
