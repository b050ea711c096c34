from collections.abc import Iterator

import pytest

from storage import LocalStore
from tests.serving.exports import make, promote
from tests.serving.live_server import Running, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with two models; what a test does here, the next one must not feel."""
    store = LocalStore(tmp_path_factory.mktemp("served"))
    promote(store, "shoes", make(0))
    promote(store, "bags", make(1))
    with running(store) as found:
        yield found
