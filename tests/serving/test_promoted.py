import numpy as np
import pytest

from config.recipe import Recipe
from model.export.promotion import promote_checkpoint, rollback
from model.training.train import train
from serving.encode import decode_png
from storage import LocalStore
from storage.promoted_files import read_example
from tests.model.pairs import publish_test_pairs
from tests.serving.live_server import PNG, run_test_server

SMALL = Recipe(
    batch=2, epochs=2, image_size=64, generator_width=4, generator_blocks=1, discriminator_width=4
)


@pytest.mark.parametrize("engine", ["openvino", pytest.param("torch", marks=pytest.mark.slow)])
def test_trained_checkpoint_is_served_and_rolled_back(
    store: LocalStore, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_test_pairs(store, "tttvv")
    monkeypatch.setattr("model.training.artifacts.render_loss_plot", lambda *_: b"")
    run = train(store, "tiny", "pairs", SMALL).run
    promote_checkpoint(store, "tiny", run, 1, title="Tiny")
    second = promote_checkpoint(store, "tiny", run, 2, title="Tiny")
    with run_test_server(store, engine=engine) as server:
        (listed,) = server.client.get("/v1/models").json()["models"]
        assert (listed["title"], listed["run"], listed["epoch"]) == ("Tiny", run, 2)
        assert listed["examples"] == second.examples > 0
        response = server.client.post(
            "/v1/models/tiny/generate",
            content=read_example(store, "tiny", second, 0, "drawing"),
            headers=PNG,
            params={"normalise": "false"},
        )
        assert response.headers["X-Model-Version"] == second.export
        picture = decode_png(response.content, True)
        expected = decode_png(read_example(store, "tiny", second, 0, "picture"), True)
        assert picture is not None and expected is not None
        assert np.abs(picture.astype(int) - expected).mean() < 3
        first = rollback(store, "tiny")
        server.poll()
        assert (
            server.post_drawing("tiny").headers["X-Model-Version"] == first.export != second.export
        )
