import itertools
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from serving.engines import Array, GenerateFn, GeneratorEngineOptions, create_engine
from serving.metrics import ServerMetrics
from serving.model_manager import ModelManager
from storage import LocalStore, keys
from storage.promoted_files import Example
from storage.s3 import S3Store
from tests.serving.exports import export_random_generator, promote
from tests.serving.live_server import RunningServer, run_test_server, wait_until


def create_manager(store: LocalStore | S3Store, engine: str = "onnxruntime") -> ModelManager:
    return ModelManager(
        store, create_engine(engine, GeneratorEngineOptions(1, 1)), 3600, ServerMetrics()
    )


def get_versions(manager: ModelManager) -> dict[str, str]:
    return {name: model.promotion.export for name, model in manager.models.items()}


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "torch"])
def test_promoted_models_are_loaded_by_every_engine(store: LocalStore, engine: str) -> None:
    first = promote(store, "shoes", export_random_generator(0))
    manager = create_manager(store, engine)
    assert not manager.models and not manager.has_polled
    manager.poll()
    model = manager.models["shoes"]
    assert (model.promotion, model.examples) == (first, export_random_generator(0).examples)
    assert model.max_mean_abs_diff < (3 if engine == "openvino" else 0.05)
    second = promote(store, "bags", export_random_generator(1))
    manager.poll()
    assert get_versions(manager) == {"bags": second.export, "shoes": first.export}
    assert list(manager.models) == ["bags", "shoes"]


def test_new_promotion_replaces_the_model_and_the_same_export_is_not_reloaded(
    store: LocalStore,
) -> None:
    promote(store, "shoes", export_random_generator(0))
    manager = create_manager(store)
    manager.poll()
    previous = manager.models["shoes"]
    again = promote(store, "shoes", export_random_generator(0))
    manager.poll()
    assert manager.models["shoes"].generate is previous.generate
    assert manager.models["shoes"].promotion == again
    other = promote(store, "shoes", export_random_generator(1))
    manager.poll()
    assert get_versions(manager) == {"shoes": other.export}
    # Running requests can finish with the old model.
    assert previous.generate(np.ones((1, 64, 64), np.float32)).shape == (3, 64, 64)
    store.delete(keys.promoted("shoes"))
    manager.poll()
    assert not manager.models


def make_swapped_examples() -> tuple[Example, ...]:
    """Make examples with another generator's pictures."""
    return tuple(
        Example(mine.drawing, other.picture)
        for mine, other in zip(
            export_random_generator(1).examples, export_random_generator(2).examples, strict=True
        )
    )


def make_truncated_examples() -> tuple[Example, ...]:
    return (
        Example(
            export_random_generator(1).examples[0].drawing,
            export_random_generator(1).examples[0].picture[:50],
        ),
    )


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (make_swapped_examples, "picture of example 0 differs"),
        (make_truncated_examples, "is damaged"),
    ],
)
def test_promotion_that_fails_its_check_is_rejected(
    store: LocalStore,
    examples: Callable[[], tuple[Example, ...]],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = promote(store, "shoes", export_random_generator(0))
    manager = create_manager(store)
    manager.poll()
    bad = promote(store, "shoes", export_random_generator(1), examples=examples())
    with caplog.at_level(logging.ERROR):
        manager.poll()
    assert get_versions(manager) == {"shoes": good.export}
    assert manager.rejected["shoes"].promotion == bad
    assert message in manager.rejected["shoes"].reason
    assert f"keeping version {good.export}" in caplog.text
    metrics_text = manager._metrics.render().decode()
    metric_line = f'icanvas_promotion_rejected{{model="shoes",version="{bad.export}"}} 1.0'
    assert metric_line in metrics_text
    caplog.clear()
    manager.poll()
    # It is not loaded again at every poll.
    assert "rejected" not in caplog.text
    better = promote(store, "shoes", export_random_generator(2))
    manager.poll()
    assert get_versions(manager) == {"shoes": better.export}
    assert not manager.rejected
    assert metric_line not in manager._metrics.render().decode()


def test_damaged_export_is_rejected_and_others_are_loaded(store: LocalStore) -> None:
    damaged_export = promote(store, "shoes", export_random_generator(0))
    key = f"{keys.export_folder('shoes', damaged_export.export)}/generator.onnx"
    store.put(key, store.get(key)[:-1])
    store.put(keys.promoted("hats"), b"{}")
    good = promote(store, "bags", export_random_generator(1))
    manager = create_manager(store)
    manager.poll()
    assert get_versions(manager) == {"bags": good.export}
    assert "SHA-256" in manager.rejected["shoes"].reason
    assert manager.last_error is not None and "promoted.json is corrupt" in manager.last_error


def test_generator_with_nan_output_is_rejected(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))

    def return_nan(_generate: GenerateFn) -> GenerateFn:
        return lambda condition: np.full((3, *condition.shape[1:]), np.nan, np.float32)

    with run_test_server(store, return_nan) as server:
        response = server.client.get("/readyz")
        assert response.status_code == 503
        assert "not finite" in response.json()["refused"]["shoes"]["why"]


def test_models_stay_loaded_while_the_store_fails(store: LocalStore, own_store: Path) -> None:
    first = promote(store, "shoes", export_random_generator(0))
    with run_test_server(store) as server:
        moved_store = own_store.rename(own_store.with_name("moved_store"))
        own_store.write_text("no folder")
        server.poll()
        assert server.state.model_manager.last_error
        ready = server.client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["store"] == server.state.model_manager.last_error
        assert server.post_drawing().status_code == 200
        own_store.unlink()
        moved_store.rename(own_store)
        server.poll()
        assert server.client.get("/readyz").json()["store"] == "ok"
        assert get_versions(server.state.model_manager) == {"shoes": first.export}


def test_replacing_a_model_under_load_drops_no_request(store: LocalStore) -> None:
    exports = [promote(store, "shoes", export_random_generator(0)).export]
    seen_versions: set[str] = set()
    failed_statuses: list[int] = []
    stop = threading.Event()

    def post_drawings(server: RunningServer, first: int) -> None:
        for number in itertools.count(first):
            if stop.is_set():
                return
            response = server.post_drawing(number=number % 5)
            if response.status_code == 200:
                seen_versions.add(response.headers["X-Model-Version"])
            else:
                failed_statuses.append(response.status_code)

    with run_test_server(store, poll_interval=0.05, queue_size=50) as server:
        threads = [threading.Thread(target=post_drawings, args=(server, n)) for n in range(6)]
        for thread in threads:
            thread.start()
        try:
            for seed in (1, 2, 0, 1):
                wait_until(lambda: exports[-1] in seen_versions)
                exports.append(promote(store, "shoes", export_random_generator(seed)).export)
            wait_until(lambda: get_versions(server.state.model_manager)["shoes"] == exports[-1])
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert server.post_drawing().headers["X-Model-Version"] == exports[-1]
    assert not failed_statuses
    assert seen_versions >= set(exports)


def test_promotion_in_s3_is_loaded(s3_store: S3Store) -> None:
    with run_test_server(s3_store, poll_interval=0.1) as server:
        assert server.client.get("/readyz").status_code == 503
        first = promote(s3_store, "shoes", export_random_generator(0))
        wait_until(lambda: get_versions(server.state.model_manager) == {"shoes": first.export})
        assert server.post_drawing().status_code == 200


def test_models_generate_different_pictures(server: RunningServer) -> None:
    model = server.state.model_manager.models["shoes"]
    ones: Array = np.ones((1, 64, 64), np.float32)
    other = server.state.model_manager.models["bags"].generate(ones)
    assert np.abs(model.generate(ones) - other).max() > 0.1
