import numpy as np
import pytest

from model.promotion import promote
from model.recipe import Recipe
from model.train import train
from serving.pictures import decode_png
from storage import LocalStore
from storage.exports import read_example
from tests.model.pairs import publish
from tests.serving.running import PNG, running

SMALL = Recipe(
    batch=2, epochs=2, image_size=64, generator_width=4, generator_blocks=1, discriminator_width=4
)


def test_what_was_trained_and_promoted_is_served(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, "tttvv")
    monkeypatch.setattr("model.watch.plot_log", lambda *_: b"")
    run = train(store, "tiny", "pairs", SMALL).run
    promoted = promote(store, "tiny", run, 2, title="Tiny")
    with running(store, engine="openvino") as server:
        (listed,) = server.client.get("/v1/models").json()["models"]
        assert (listed["title"], listed["run"], listed["epoch"]) == ("Tiny", run, 2)
        assert listed["examples"] == promoted.examples > 0
        answer = server.client.post(
            "/v1/models/tiny/generate",
            content=read_example(store, "tiny", promoted, 0, "drawing"),
            headers=PNG,
            params={"normalise": "false"},
        )
        assert answer.headers["X-Model-Version"] == promoted.export
        found = decode_png(answer.content, True)
        expected = decode_png(read_example(store, "tiny", promoted, 0, "picture"), True)
        assert found is not None and expected is not None
        assert np.abs(found.astype(int) - expected).mean() < 3
