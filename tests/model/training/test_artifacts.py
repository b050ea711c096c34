import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from config.recipe import Recipe
from model.training.train import train
from storage import LocalStore
from storage.runs import Run
from tests.model.pairs import publish_test_pairs
from tests.model.training.test_samples import make_sketch

RARE = Recipe(
    batch=2,
    epochs=3,
    checkpoint_every=2,
    image_size=64,
    generator_width=4,
    generator_blocks=1,
    discriminator_width=4,
)


def test_run_writes_plot_sketch_grids_and_events(store: LocalStore) -> None:
    publish_test_pairs(store, "ttttv")
    trained = train(store, "tiny", "pairs", RARE, sketches=[make_sketch(), make_sketch()[:, ::-1]])
    run = Run(store, "tiny", trained.run)
    with Image.open(trained.plot) as plot:
        assert plot.size == (1000, 900)
    for epoch in (2, 3):
        with Image.open(run.location(f"samples/sketches-{epoch:04d}.jpg")) as grid:
            assert grid.size == (4 * 68 + 4, 68 + 4)
    assert trained.sketches == run.location("samples/sketches-0003.jpg")
    extent = json.loads(run.get("recipe.json") or b"")["extent"]
    assert 0.5 < extent <= 1

    read = EventAccumulator(trained.events, {"images": 0, "scalars": 0})
    read.Reload()
    logged = [json.loads(line) for line in (run.get("metrics.jsonl") or b"").splitlines()]
    for name, tag in {"l1": "loss/l1", "lr": "lr", "skipped": "skipped"}.items():
        values = {line["step"]: line[name] for line in logged if name in line}
        assert {event.step: event.value for event in read.Scalars(tag)} == {
            step: np.float32(value) for step, value in values.items()
        }
    for tag, name in (("pairs", "epoch"), ("sketches", "sketches")):
        images = read.Images(f"samples/{tag}")
        assert [image.step for image in images] == [4, 6]
        assert images[1].encoded_image_string == run.get(f"samples/{name}-0003.jpg")


def test_sketches_are_normalized_only_when_rendered(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_test_pairs(store, "ttv")
    module = import_module("model.training.train")
    real, calls = module.prepare_sketch, []

    def count(*arguments: object) -> object:
        calls.append(1)
        return real(*arguments)

    monkeypatch.setattr(module, "prepare_sketch", count)
    drawn = [make_sketch(), make_sketch()[:, ::-1]]
    trained = train(store, "tiny", "pairs", RARE, sketches=drawn)
    assert len(calls) == 2, "each sketch once per run"
    assert train(store, "tiny", "pairs", RARE, sketches=drawn) == trained
    assert len(calls) == 2
    store.delete(Run(store, "tiny", trained.run).key("samples/sketches-0003.jpg"))
    assert train(store, "tiny", "pairs", RARE, sketches=drawn) == trained
    assert len(calls) == 4, "a missing grid is rendered again"


def test_sketches_only_add_their_grids(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        import_module("model.training.artifacts"), "render_loss_plot", lambda *_: b""
    )
    other = LocalStore(tmp_path / "other")
    for target in (store, other):
        publish_test_pairs(target, "ttv")
    recipe = RARE.model_copy(update={"epochs": 1})
    drawn = train(store, "tiny", "pairs", recipe, sketches=[make_sketch()])
    plain = train(other, "tiny", "pairs", recipe)
    assert plain.sketches is None
    assert plain.run == drawn.run
    shared = set(other.list_keys("models"))
    assert set(store.list_keys("models")) - shared == {
        f"models/tiny/{plain.run}/samples/sketches-0001.jpg"
    }
    for key in shared:
        assert "/events/" in key or store.get(key) == other.get(key)
