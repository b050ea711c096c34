"""Work done in threads a little ahead of whoever takes the results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_ahead(
    pool: ThreadPoolExecutor,
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    ahead: int,
) -> Iterator[_Result]:
    """Yield results in the items' order while the pool does up to ``ahead`` more of them."""
    futures: deque[Future[_Result]] = deque()
    try:
        for item in items:
            futures.append(pool.submit(work, item))
            while futures and (len(futures) > ahead or futures[0].done()):
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        # Whoever stops early does not wait for what was queued.
        for future in futures:
            future.cancel()
