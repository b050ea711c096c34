from collections.abc import Iterator

import pytest

from storage import LocalStore
from tests.serving.exports import export_random_generator, promote
from tests.serving.live_server import RunningServer, run_test_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Run a server with two models. Tests share it and must not change its state."""
    store = LocalStore(tmp_path_factory.mktemp("store"))
    promote(store, "shoes", export_random_generator(0))
    promote(store, "bags", export_random_generator(1))
    with run_test_server(store) as running_server:
        yield running_server
