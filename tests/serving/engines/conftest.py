from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.engines import Array, GenerateFn

RunConcurrently = Callable[[GenerateFn, Sequence[Array]], list[Array]]


@pytest.fixture
def run_concurrently() -> RunConcurrently:
    """Return a function that calls a generator with all conditions, each in its own thread."""

    def run(generate: GenerateFn, conditions: Sequence[Array]) -> list[Array]:
        with ThreadPoolExecutor(len(conditions)) as threads:
            return list(threads.map(generate, conditions))

    return run
