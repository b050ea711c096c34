import io
import threading

import numpy as np
import pytest
from PIL import Image

from postprocess import encode_png
from serving.encode import decode_png
from serving.engines import GenerateFn
from storage import LocalStore
from tests.serving.exports import SIDE, export_random_generator, promote
from tests.serving.hostile import INVALID_BODIES, VALID_BODIES
from tests.serving.live_server import GENERATE, PNG, RunningServer, is_error, run_test_server

KEY = "a-key-of-24-characters-x"


def test_a_drawing_becomes_its_models_picture(server: RunningServer) -> None:
    model = server.state.models.models["shoes"]
    example = model.examples[0]
    answer = server.client.post(
        GENERATE, content=example.drawing, headers=PNG, params={"normalise": "false"}
    )
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/png"
    found, expected = decode_png(answer.content, True), decode_png(example.picture, True)
    assert found is not None and expected is not None
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert answer.headers["X-Model-Name"] == "shoes"
    assert answer.headers["X-Model-Version"] == model.promotion.export
    stages = [part.split(";")[0] for part in answer.headers["Server-Timing"].split(", ")]
    assert stages == ["queue", "prepare", "network", "encode", "all"]


def test_strokes_become_a_picture(server: RunningServer) -> None:
    points = [[200, 500], [200, 200], [600, 200], [600, 500], [200, 500]]
    strokes = {"width": 800, "height": 700, "strokes": [{"points": points}]}
    answer = server.client.post(GENERATE, json=strokes)
    assert answer.status_code == 200
    assert Image.open(io.BytesIO(answer.content)).size == (SIDE, SIDE)


@pytest.mark.parametrize("size", [32, 64, 100, 1024])
def test_a_picture_has_the_size_that_is_asked_for(server: RunningServer, size: int) -> None:
    answer = server.post_drawing(size=size)
    assert Image.open(io.BytesIO(answer.content)).size == (size, size)


@pytest.mark.parametrize("name", VALID_BODIES)
def test_every_kind_of_drawing_is_taken(server: RunningServer, name: str) -> None:
    kind, body = VALID_BODIES[name]
    answer = server.client.post(GENERATE, content=body, headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text
    assert Image.open(io.BytesIO(answer.content)).size == (SIDE, SIDE)


@pytest.mark.parametrize("name", INVALID_BODIES)
def test_what_is_no_drawing_is_answered_with_why(server: RunningServer, name: str) -> None:
    kind, body, status, code = INVALID_BODIES[name]
    answer = server.client.post(GENERATE, content=body, headers={"Content-Type": kind})
    assert is_error(answer, status, code), answer.text


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("/v1/models/", 404, "not_found"),
        ("/v1/models/hats/generate", 404, "unknown_model"),
        ("/v1/models/..%2f..%2fetc/generate", 404, "not_found"),
        ("/v1/models/%00/generate", 404, "unknown_model"),
        ("/v1/models/shoes/generate?size=31", 422, "invalid"),
        ("/v1/models/shoes/generate?size=99999", 422, "invalid"),
        ("/v1/models/shoes/generate?size=large", 422, "invalid"),
        ("/v1/models/shoes/generate?normalise=2", 422, "invalid"),
        ("/v1/models/shoes/paint", 404, "not_found"),
        ("/v1/models", 405, "not_allowed"),
    ],
)
def test_what_is_asked_wrongly_is_told(
    server: RunningServer, address: str, status: int, code: str
) -> None:
    answer = server.client.post(address, content=VALID_BODIES["png"][1], headers=PNG)
    assert is_error(answer, status, code), answer.text


def test_types_are_strict(server: RunningServer) -> None:
    body = VALID_BODIES["png"][1]
    for headers in ({}, {"Content-Type": ""}, {**PNG, "Content-Encoding": "gzip"}):
        answer = server.client.post(GENERATE, content=body, headers=headers)
        assert is_error(answer, 415, "wrong_type")


def test_the_list_and_the_examples(server: RunningServer) -> None:
    listed = server.client.get("/v1/models").json()["models"]
    assert [model["name"] for model in listed] == ["bags", "shoes"]
    shoes = listed[1]
    promotion = server.state.models.models["shoes"].promotion
    assert shoes == {
        "name": "shoes",
        "title": "Shoes",
        "version": promotion.export,
        "run": "run",
        "epoch": 1,
        "image_size": SIDE,
        "promoted_at": promotion.at.isoformat().replace("+00:00", "Z"),
        "examples": 2,
    }
    for number, example in enumerate(export_random_generator(0).examples):
        for what in ("drawing", "picture"):
            address = f"/v1/models/shoes/examples/{number}/{what}.png"
            answer = server.client.get(address)
            assert answer.content == getattr(example, what)
            assert answer.headers["Cache-Control"] == "no-cache"
            known = {"If-None-Match": answer.headers["ETag"]}
            assert server.client.get(address, headers=known).status_code == 304
            kept = server.client.get(address, params={"version": promotion.export})
            assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    for wrong, code in (
        ("shoes/examples/2/drawing.png", "not_found"),
        ("shoes/examples/0/secret.png", "invalid"),
        ("shoes/examples/-1/drawing.png", "invalid"),
        ("hats/examples/0/drawing.png", "unknown_model"),
    ):
        assert server.client.get(f"/v1/models/{wrong}").json()["error"] == code


def test_without_a_model_it_says_so(store: LocalStore) -> None:
    with run_test_server(store, poll=7) as server:
        assert server.client.get("/v1/models").json() == {"models": []}
        answer = server.post_drawing()
        assert is_error(answer, 503, "no_model")
        assert answer.headers["Retry-After"] == "7"
        ready = server.client.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert server.client.get("/healthz").json() == {"status": "ok"}


def test_a_generator_that_breaks_is_one_answers_fault(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    broken = threading.Event()

    def around(draw: GenerateFn) -> GenerateFn:
        def spoil(
            condition: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
        ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            return draw(condition) * (np.float32("nan") if broken.is_set() else np.float32(1))

        return spoil

    with run_test_server(store, around) as server:
        broken.set()
        answer = server.post_drawing()
        assert is_error(answer, 500, "failed")
        assert answer.headers["X-Request-Id"]
        assert "Content-Security-Policy" in answer.headers
        broken.clear()
        assert server.post_drawing().status_code == 200


def test_a_key_is_asked_for_where_one_is_set(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    with run_test_server(store, key=KEY) as server:
        for headers in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": KEY[:-1]}, {"X-API-Key": ""}):
            for method, address in (("GET", "/v1/models"), ("POST", GENERATE)):
                answer = server.client.request(method, address, headers=headers)
                assert is_error(answer, 401, "no_key")
                assert answer.headers["WWW-Authenticate"]
        good = {**PNG, "X-API-Key": KEY}
        assert server.client.get("/v1/models", headers=good).status_code == 200
        answer = server.client.post(GENERATE, content=VALID_BODIES["png"][1], headers=good)
        assert answer.status_code == 200
        assert server.client.get("/readyz").status_code == 200
        described = server.client.get("/openapi.json").json()
        assert described["paths"]["/v1/models"]["get"]["security"]
        assert KEY not in server.client.get("/metrics").text


def test_figures_are_told(server: RunningServer) -> None:
    assert server.post_drawing().status_code == 200
    assert server.post_drawing(name="hats").status_code == 404
    figures = server.client.get("/metrics").text
    version = server.state.models.models["shoes"].promotion.export
    for line in (
        f'icanvas_model_info{{epoch="1",model="shoes",run="run",version="{version}"}} 1.0',
        'icanvas_stage_seconds_count{stage="network"}',
        'icanvas_drawings_total{model="shoes",outcome="ok"}',
        # No name that a stranger thinks of becomes a label.
        'icanvas_drawings_total{model="",outcome="unknown_model"}',
        "icanvas_store_looked_timestamp_seconds",
    ):
        assert line in figures
    assert "hats" not in figures


def test_figures_can_be_switched_off(store: LocalStore) -> None:
    with run_test_server(store, metrics=False) as server:
        assert is_error(server.client.get("/metrics"), 404, "not_found")


def test_the_gate_keeps_pictures_back(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    with run_test_server(store, safety=True, safety_threshold=1.0) as server:
        answer = server.post_drawing()
        assert answer.status_code == 200
        assert "check;dur=" in answer.headers["Server-Timing"]
    with run_test_server(store, safety=True, safety_threshold=1e-9) as server:
        assert is_error(server.post_drawing(), 451, "not_shown")


def test_a_drawing_that_is_no_square_is_taken(server: RunningServer) -> None:
    sheet = np.full((40, 900), 255, np.uint8)
    sheet[5:35].reshape(30, 18, 50)[:, 2:16, 20:26] = 0
    answer = server.client.post(GENERATE, content=encode_png(sheet), headers=PNG)
    assert answer.status_code == 200
