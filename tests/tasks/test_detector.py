import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tasks import detector as module


def test_concurrent_shards_share_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are large, and two engines would each use all cores."""
    together = Barrier(4, timeout=30)

    def create(*_: object) -> object:
        # Long enough for all threads to call meanwhile.
        time.sleep(0.3)
        return object()

    def create_detector(border: int) -> object:
        together.wait()
        return module.get_detector(border).engine

    monkeypatch.setattr(module, "create_engine", create)
    module._create_cached_engine.cache_clear()
    try:
        with ThreadPoolExecutor(4) as pool:
            engines = list(pool.map(create_detector, (16, 98, 16, 98)))
    finally:
        module._create_cached_engine.cache_clear()
    assert len({id(engine) for engine in engines}) == 1
