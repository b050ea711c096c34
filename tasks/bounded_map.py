"""A map over a thread pool that keeps a bounded number of items in progress."""

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
    """Yield ``function(item)`` for each item, in order, computed in threads.

    At most `max_pending` results are pending or waiting to be consumed, so memory stays bounded
    however many items there are. When the consumer stops early, queued calls are canceled.

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
        Results in the order of the items. An error in a call is raised when its turn comes.

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
