import itertools
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from serving.engines import Array, Draw, Options, create_engine
from serving.metrics import Metrics
from serving.model_manager import Shelf
from storage import LocalStore, keys
from storage.promoted_files import Example
from storage.s3 import S3Store
from tests.serving.exports import make, promote
from tests.serving.live_server import Running, running, wait_until


def shelf_of(store: LocalStore | S3Store, engine: str = "onnxruntime") -> Shelf:
    return Shelf(store, create_engine(engine, Options(1, 1)), 3600, Metrics())


def versions(shelf: Shelf) -> dict[str, str]:
    return {name: model.promotion.export for name, model in shelf.models.items()}


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "torch"])
def test_what_is_promoted_is_served_with_every_engine(store: LocalStore, engine: str) -> None:
    first = promote(store, "shoes", make(0))
    shelf = shelf_of(store, engine)
    assert not shelf.models and not shelf.looked
    shelf.look()
    model = shelf.models["shoes"]
    assert (model.promotion, model.examples) == (first, make(0).examples)
    assert model.apart < (3 if engine == "openvino" else 0.05)
    second = promote(store, "bags", make(1))
    shelf.look()
    assert versions(shelf) == {"bags": second.export, "shoes": first.export}
    assert list(shelf.models) == ["bags", "shoes"]


def test_a_new_promotion_takes_the_place_and_the_same_is_not_loaded_again(
    store: LocalStore,
) -> None:
    promote(store, "shoes", make(0))
    shelf = shelf_of(store)
    shelf.look()
    before = shelf.models["shoes"]
    again = promote(store, "shoes", make(0))
    shelf.look()
    assert shelf.models["shoes"].draw is before.draw
    assert shelf.models["shoes"].promotion == again
    other = promote(store, "shoes", make(1))
    shelf.look()
    assert versions(shelf) == {"shoes": other.export}
    # Whoever began with the old one can go on with it.
    assert before.draw(np.ones((1, 64, 64), np.float32)).shape == (3, 64, 64)
    store.delete(keys.promoted("shoes"))
    shelf.look()
    assert not shelf.models


def swapped() -> tuple[Example, ...]:
    """Examples whose pictures are another generator's."""
    return tuple(
        Example(mine.drawing, other.picture)
        for mine, other in zip(make(1).examples, make(2).examples, strict=True)
    )


def cut() -> tuple[Example, ...]:
    return (Example(make(1).examples[0].drawing, make(1).examples[0].picture[:50]),)


@pytest.mark.parametrize(
    ("examples", "says"), [(swapped, "draws its example 0 differently"), (cut, "is damaged")]
)
def test_a_promotion_that_fails_its_check_is_rolled_back(
    store: LocalStore,
    examples: Callable[[], tuple[Example, ...]],
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = promote(store, "shoes", make(0))
    shelf = shelf_of(store)
    shelf.look()
    bad = promote(store, "shoes", make(1), examples=examples())
    with caplog.at_level(logging.ERROR):
        shelf.look()
    assert versions(shelf) == {"shoes": good.export}
    assert shelf.refused["shoes"].promotion == bad
    assert says in shelf.refused["shoes"].why
    assert f"version {good.export} stays" in caplog.text
    figures = shelf._metrics.render().decode()
    refused = f'icanvas_promotion_refused{{model="shoes",version="{bad.export}"}} 1.0'
    assert refused in figures
    caplog.clear()
    shelf.look()
    # It is not loaded again every time.
    assert "refused" not in caplog.text
    better = promote(store, "shoes", make(2))
    shelf.look()
    assert versions(shelf) == {"shoes": better.export}
    assert not shelf.refused
    assert refused not in shelf._metrics.render().decode()


def test_damaged_files_are_refused_and_others_are_served(store: LocalStore) -> None:
    damaged = promote(store, "shoes", make(0))
    key = f"{keys.export_folder('shoes', damaged.export)}/generator.onnx"
    store.put(key, store.get(key)[:-1])
    store.put(keys.promoted("hats"), b"{}")
    good = promote(store, "bags", make(1))
    shelf = shelf_of(store)
    shelf.look()
    assert versions(shelf) == {"bags": good.export}
    assert "SHA-256" in shelf.refused["shoes"].why
    assert shelf.trouble is not None and "promoted.json is damaged" in shelf.trouble


def test_a_generator_that_draws_what_is_not_finite_is_refused(store: LocalStore) -> None:
    promote(store, "shoes", make(0))

    def spoil(_draw: Draw) -> Draw:
        return lambda condition: np.full((3, *condition.shape[1:]), np.nan, np.float32)

    with running(store, spoil) as server:
        answer = server.client.get("/readyz")
        assert answer.status_code == 503
        assert "not finite" in answer.json()["refused"]["shoes"]["why"]


def test_while_the_store_is_away_all_stays(store: LocalStore, own_store: Path) -> None:
    first = promote(store, "shoes", make(0))
    with running(store) as server:
        aside = own_store.rename(own_store.with_name("aside"))
        own_store.write_text("no folder")
        server.look()
        assert server.house.shelf.trouble
        ready = server.client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["store"] == server.house.shelf.trouble
        assert server.draw().status_code == 200
        own_store.unlink()
        aside.rename(own_store)
        server.look()
        assert server.client.get("/readyz").json()["store"] == "ok"
        assert versions(server.house.shelf) == {"shoes": first.export}


def test_a_swap_under_load_drops_no_request(store: LocalStore) -> None:
    exports = [promote(store, "shoes", make(0)).export]
    seen: set[str] = set()
    failed: list[int] = []
    stop = threading.Event()

    def draw_on(server: Running, first: int) -> None:
        for number in itertools.count(first):
            if stop.is_set():
                return
            answer = server.draw(number=number % 5)
            if answer.status_code == 200:
                seen.add(answer.headers["X-Model-Version"])
            else:
                failed.append(answer.status_code)

    with running(store, poll=0.05, queue=50) as server:
        threads = [threading.Thread(target=draw_on, args=(server, n)) for n in range(6)]
        for thread in threads:
            thread.start()
        try:
            for seed in (1, 2, 0, 1):
                wait_until(lambda: exports[-1] in seen)
                exports.append(promote(store, "shoes", make(seed)).export)
            wait_until(lambda: versions(server.house.shelf)["shoes"] == exports[-1])
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert server.draw().headers["X-Model-Version"] == exports[-1]
    assert not failed
    assert seen >= set(exports)


def test_a_promotion_in_s3_is_noticed(s3_store: S3Store) -> None:
    with running(s3_store, poll=0.1) as server:
        assert server.client.get("/readyz").status_code == 503
        first = promote(s3_store, "shoes", make(0))
        wait_until(lambda: versions(server.house.shelf) == {"shoes": first.export})
        assert server.draw().status_code == 200


def test_pictures_are_the_generators_own(server: Running) -> None:
    model = server.house.shelf.models["shoes"]
    ones: Array = np.ones((1, 64, 64), np.float32)
    other = server.house.shelf.models["bags"].draw(ones)
    assert np.abs(model.draw(ones) - other).max() > 0.1
