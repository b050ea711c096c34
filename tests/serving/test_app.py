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


def test_drawing_returns_the_models_picture(server: RunningServer) -> None:
    model = server.state.model_manager.models["shoes"]
    example = model.examples[0]
    response = server.client.post(
        GENERATE, content=example.drawing, headers=PNG, params={"normalise": "false"}
    )
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "image/png"
    picture, expected = decode_png(response.content, True), decode_png(example.picture, True)
    assert picture is not None and expected is not None
    assert np.abs(picture.astype(int) - expected).max() <= 1
    assert response.headers["X-Model-Name"] == "shoes"
    assert response.headers["X-Model-Version"] == model.promotion.export
    stages = [part.split(";")[0] for part in response.headers["Server-Timing"].split(", ")]
    assert stages == ["queue", "prepare", "network", "encode", "all"]


def test_strokes_return_a_picture(server: RunningServer) -> None:
    points = [[200, 500], [200, 200], [600, 200], [600, 500], [200, 500]]
    strokes = {"width": 800, "height": 700, "strokes": [{"points": points}]}
    response = server.client.post(GENERATE, json=strokes)
    assert response.status_code == 200
    assert Image.open(io.BytesIO(response.content)).size == (SIDE, SIDE)


@pytest.mark.parametrize("size", [32, 64, 100, 1024])
def test_picture_has_the_requested_size(server: RunningServer, size: int) -> None:
    response = server.post_drawing(size=size)
    assert Image.open(io.BytesIO(response.content)).size == (size, size)


@pytest.mark.parametrize("name", VALID_BODIES)
def test_all_formats_are_accepted(server: RunningServer, name: str) -> None:
    content_type, body = VALID_BODIES[name]
    response = server.client.post(GENERATE, content=body, headers={"Content-Type": content_type})
    assert response.status_code == 200, response.text
    assert Image.open(io.BytesIO(response.content)).size == (SIDE, SIDE)


@pytest.mark.parametrize("name", INVALID_BODIES)
def test_invalid_body_returns_its_error(server: RunningServer, name: str) -> None:
    content_type, body, status, code = INVALID_BODIES[name]
    response = server.client.post(GENERATE, content=body, headers={"Content-Type": content_type})
    assert is_error(response, status, code), response.text


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
def test_invalid_request_returns_its_error(
    server: RunningServer, address: str, status: int, code: str
) -> None:
    response = server.client.post(address, content=VALID_BODIES["png"][1], headers=PNG)
    assert is_error(response, status, code), response.text


def test_missing_or_wrong_content_type_returns_415(server: RunningServer) -> None:
    body = VALID_BODIES["png"][1]
    for headers in ({}, {"Content-Type": ""}, {**PNG, "Content-Encoding": "gzip"}):
        response = server.client.post(GENERATE, content=body, headers=headers)
        assert is_error(response, 415, "wrong_type")


def test_models_and_examples_are_listed_and_cached(server: RunningServer) -> None:
    listed = server.client.get("/v1/models").json()["models"]
    assert [model["name"] for model in listed] == ["bags", "shoes"]
    shoes = listed[1]
    promotion = server.state.model_manager.models["shoes"].promotion
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
            response = server.client.get(address)
            assert response.content == getattr(example, what)
            assert response.headers["Cache-Control"] == "no-cache"
            conditional = {"If-None-Match": response.headers["ETag"]}
            assert server.client.get(address, headers=conditional).status_code == 304
            versioned = server.client.get(address, params={"version": promotion.export})
            assert versioned.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    for path, code in (
        ("shoes/examples/2/drawing.png", "not_found"),
        ("shoes/examples/0/secret.png", "invalid"),
        ("shoes/examples/-1/drawing.png", "invalid"),
        ("hats/examples/0/drawing.png", "unknown_model"),
    ):
        assert server.client.get(f"/v1/models/{path}").json()["error"] == code


def test_no_model_returns_503(store: LocalStore) -> None:
    with run_test_server(store, poll_interval=7) as server:
        assert server.client.get("/v1/models").json() == {"models": []}
        response = server.post_drawing()
        assert is_error(response, 503, "no_model")
        assert response.headers["Retry-After"] == "7"
        ready = server.client.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert server.client.get("/healthz").json() == {"status": "ok"}


def test_failing_generator_affects_only_its_request(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    broken = threading.Event()

    def wrap_generate(generate: GenerateFn) -> GenerateFn:
        def generate_nan(
            condition: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
        ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            return generate(condition) * (np.float32("nan") if broken.is_set() else np.float32(1))

        return generate_nan

    with run_test_server(store, wrap_generate) as server:
        broken.set()
        response = server.post_drawing()
        assert is_error(response, 500, "failed")
        assert response.headers["X-Request-Id"]
        assert "Content-Security-Policy" in response.headers
        broken.clear()
        assert server.post_drawing().status_code == 200


def test_api_key_is_required_if_set(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    with run_test_server(store, key=KEY) as server:
        for headers in ({}, {"X-API-Key": "path"}, {"X-API-Key": KEY[:-1]}, {"X-API-Key": ""}):
            for method, address in (("GET", "/v1/models"), ("POST", GENERATE)):
                response = server.client.request(method, address, headers=headers)
                assert is_error(response, 401, "no_key")
                assert response.headers["WWW-Authenticate"]
        valid_headers = {**PNG, "X-API-Key": KEY}
        assert server.client.get("/v1/models", headers=valid_headers).status_code == 200
        response = server.client.post(
            GENERATE, content=VALID_BODIES["png"][1], headers=valid_headers
        )
        assert response.status_code == 200
        assert server.client.get("/readyz").status_code == 200
        schema = server.client.get("/openapi.json").json()
        assert schema["paths"]["/v1/models"]["get"]["security"]
        assert KEY not in server.client.get("/metrics").text


def test_metrics_count_requests(server: RunningServer) -> None:
    assert server.post_drawing().status_code == 200
    assert server.post_drawing(name="hats").status_code == 404
    metrics_text = server.client.get("/metrics").text
    version = server.state.model_manager.models["shoes"].promotion.export
    for line in (
        f'icanvas_model_info{{epoch="1",model="shoes",run="run",version="{version}"}} 1.0',
        'icanvas_stage_duration_seconds_count{stage="network"}',
        'icanvas_requests_total{model="shoes",outcome="ok"}',
        # Unknown names do not become labels.
        'icanvas_requests_total{model="",outcome="unknown_model"}',
        "icanvas_store_last_success_timestamp_seconds",
    ):
        assert line in metrics_text
    assert "hats" not in metrics_text


def test_metrics_can_be_disabled(store: LocalStore) -> None:
    with run_test_server(store, metrics=False) as server:
        assert is_error(server.client.get("/metrics"), 404, "not_found")


def test_safety_filter_holds_back_pictures(store: LocalStore) -> None:
    promote(store, "shoes", export_random_generator(0))
    with run_test_server(store, safety=True, safety_threshold=1.0) as server:
        response = server.post_drawing()
        assert response.status_code == 200
        assert "check;dur=" in response.headers["Server-Timing"]
    with run_test_server(store, safety=True, safety_threshold=1e-9) as server:
        assert is_error(server.post_drawing(), 451, "not_shown")


def test_rectangular_drawing_is_accepted(server: RunningServer) -> None:
    sheet = np.full((40, 900), 255, np.uint8)
    sheet[5:35].reshape(30, 18, 50)[:, 2:16, 20:26] = 0
    response = server.client.post(GENERATE, content=encode_png(sheet), headers=PNG)
    assert response.status_code == 200
