from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.engines import Array, Draw

Together = Callable[[Draw, Sequence[Array]], list[Array]]


@pytest.fixture
def together() -> Together:
    """Call a generator for everything at once, a thread each."""

    def run(draw: Draw, given: Sequence[Array]) -> list[Array]:
        with ThreadPoolExecutor(len(given)) as threads:
            return list(threads.map(draw, given))

    return run
