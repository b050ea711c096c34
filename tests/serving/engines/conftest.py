from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.engines import Array, GenerateFn

RunConcurrently = Callable[[GenerateFn, Sequence[Array]], list[Array]]


@pytest.fixture
def together() -> RunConcurrently:
    """Call a generator for everything at once, a thread each."""

    def run_concurrently(draw: GenerateFn, given: Sequence[Array]) -> list[Array]:
        with ThreadPoolExecutor(len(given)) as threads:
            return list(threads.map(draw, given))

    return run_concurrently
