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
    return ModelManager(store, create_engine(engine, GeneratorEngineOptions(1, 1)), 3600, ServerMetrics())


def get_versions(manager: ModelManager) -> dict[str, str]:
    return {name: model.promotion.export for name, model in manager.models.items()}


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "torch"])
def test_what_is_promoted_is_served_with_every_engine(store: LocalStore, engine: str) -> None:
    first = promote(store, "shoes", export_random_generator(0))
    shelf = create_manager(store, engine)
    assert not shelf.models and not shelf.has_polled
    shelf.poll()
    model = shelf.models["shoes"]
    assert (model.promotion, model.examples) == (first, export_random_generator(0).examples)
    assert model.max_mean_abs_diff < (3 if engine == "openvino" else 0.05)
    second = promote(store, "bags", export_random_generator(1))
    shelf.poll()
    assert get_versions(shelf) == {"bags": second.export, "shoes": first.export}
    assert list(shelf.models) == ["bags", "shoes"]


def test_a_new_promotion_takes_the_place_and_the_same_is_not_loaded_again(
    store: LocalStore,
) -> None:
    promote(store, "shoes", export_random_generator(0))
    shelf = create_manager(store)
    shelf.poll()
    before = shelf.models["shoes"]
    again = promote(store, "shoes", export_random_generator(0))
    shelf.poll()
    assert shelf.models["shoes"].generate is before.generate
    assert shelf.models["shoes"].promotion == again
    other = promote(store, "shoes", export_random_generator(1))
    shelf.poll()
    assert get_versions(shelf) == {"shoes": other.export}
    # Whoever began with the old one can go on with it.
    assert before.generate(np.ones((1, 64, 64), np.float32)).shape == (3, 64, 64)
    store.delete(keys.promoted("shoes"))
    shelf.poll()
    assert not shelf.models


def make_swapped_examples() -> tuple[Example, ...]:
    """Examples whose pictures are another generator's."""
    return tuple(
        Example(mine.drawing, other.picture)
        for mine, other in zip(export_random_generator(1).examples, export_random_generator(2).examples, strict=True)
    )


def make_truncated_examples() -> tuple[Example, ...]:
    return (Example(export_random_generator(1).examples[0].drawing, export_random_generator(1).examples[0].picture[:50]),)


@pytest.mark.parametrize(
    ("examples", "says"), [(make_swapped_examples, "draws its example 0 differently"), (make_truncated_examples, "is damaged")]
)
def test_a_promotion_that_fails_its_check_is_rolled_back(
    store: LocalStore,
    examples: Callable[[], tuple[Example, ...]],
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = promote(store, "shoes", export_random_generator(0))
    shelf = create_manager(store)
    shelf.poll()
    bad = promote(store, "shoes", export_random_generator(1), examples=examples())
    with caplog.at_level(logging.ERROR):
        shelf.poll()
    assert get_versions(shelf) == {"shoes": good.export}
    assert shelf.rejected["shoes"].promotion == bad
    assert says in shelf.rejected["shoes"].reason
    assert f"version {good.export} stays" in caplog.text
    figures = shelf._metrics.render().decode()
    refused = f'icanvas_promotion_refused{{model="shoes",version="{bad.export}"}} 1.0'
    assert refused in figures
    caplog.clear()
    shelf.poll()
    # It is not loaded again every time.
    assert "refused" not in caplog.text
    better = promote(store, "shoes", export_random_generator(2))
    shelf.poll()
    assert get_versions(shelf) == {"shoes": better.export}
    assert not shelf.rejected
    assert refused not in shelf._metrics.render().decode()


def test_damaged_files_are_refused_and_others_are_served(store: LocalStore) -> None:
    damaged = promote(store, "shoes", export_random_generator(0))
    key = f"{keys.export_folder('shoes', damaged.export)}/generator.onnx"
    store.put(key, store.get(key)[:-1])
    store.put(keys.promoted("hats"), b"{}")
    good = promote(store, "bags", export_random_generator(1))
    shelf = create_manager(store)
    shelf.poll()
    assert get_versions(shelf) == {"bags": good.export}
    assert "SHA-256" in shelf.rejected["shoes"].reason
    assert shelf.last_error is not None and "promoted.json is damaged" in shelf.last_error


def test_a_generator_that_draws_what_is_not_finite_is_refused(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))

    def spoil(_draw: GenerateFn) -> GenerateFn:
        return lambda condition: np.full((3, *condition.shape[1:]), np.nan, np.float32)

    with run_test_server(store, spoil) as server:
        answer = server.client.get("/readyz")
        assert answer.status_code == 503
        assert "not finite" in answer.json()["refused"]["shoes"]["why"]


def test_while_the_store_is_away_all_stays(store: LocalStore, own_store: Path) -> None:
    first = promote(store, "shoes", export_random_generator(0))
    with run_test_server(store) as server:
        aside = own_store.rename(own_store.with_name("aside"))
        own_store.write_text("no folder")
        server.poll()
        assert server.state.models.last_error
        ready = server.client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["store"] == server.state.models.last_error
        assert server.post_drawing().status_code == 200
        own_store.unlink()
        aside.rename(own_store)
        server.poll()
        assert server.client.get("/readyz").json()["store"] == "ok"
        assert get_versions(server.state.models) == {"shoes": first.export}


def test_a_swap_under_load_drops_no_request(store: LocalStore) -> None:
    exports = [promote(store, "shoes", export_random_generator(0)).export]
    seen: set[str] = set()
    failed: list[int] = []
    stop = threading.Event()

    def draw_on(server: RunningServer, first: int) -> None:
        for number in itertools.count(first):
            if stop.is_set():
                return
            answer = server.post_drawing(number=number % 5)
            if answer.status_code == 200:
                seen.add(answer.headers["X-Model-Version"])
            else:
                failed.append(answer.status_code)

    with run_test_server(store, poll=0.05, queue=50) as server:
        threads = [threading.Thread(target=draw_on, args=(server, n)) for n in range(6)]
        for thread in threads:
            thread.start()
        try:
            for seed in (1, 2, 0, 1):
                wait_until(lambda: exports[-1] in seen)
                exports.append(promote(store, "shoes", export_random_generator(seed)).export)
            wait_until(lambda: get_versions(server.state.models)["shoes"] == exports[-1])
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert server.post_drawing().headers["X-Model-Version"] == exports[-1]
    assert not failed
    assert seen >= set(exports)


def test_a_promotion_in_s3_is_noticed(s3_store: S3Store) -> None:
    with run_test_server(s3_store, poll=0.1) as server:
        assert server.client.get("/readyz").status_code == 503
        first = promote(s3_store, "shoes", export_random_generator(0))
        wait_until(lambda: get_versions(server.state.models) == {"shoes": first.export})
        assert server.post_drawing().status_code == 200


def test_pictures_are_the_generators_own(server: RunningServer) -> None:
    model = server.state.models.models["shoes"]
    ones: Array = np.ones((1, 64, 64), np.float32)
    other = server.state.models.models["bags"].generate(ones)
    assert np.abs(model.generate(ones) - other).max() > 0.1
