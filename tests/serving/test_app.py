import io
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

from postprocess import encode_png
from serving.engines import Draw
from serving.pictures import decode_png
from storage import LocalStore
from tests.serving.exports import SIDE, make, promote
from tests.serving.hostile import BAD, GOOD
from tests.serving.running import PNG, Running, running, wait_until

GENERATE = "/v1/models/shoes/generate"
KEY = "a-key-of-24-characters-x"


def is_error(answer: httpx.Response, status: int, code: str) -> bool:
    told = answer.json()
    assert set(told) == {"error", "message"}
    assert told["message"].endswith(".")
    return (answer.status_code, told["error"]) == (status, code)


def test_a_drawing_becomes_its_models_picture(server: Running) -> None:
    model = server.house.shelf.models["shoes"]
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


def test_strokes_become_a_picture(server: Running) -> None:
    points = [[200, 500], [200, 200], [600, 200], [600, 500], [200, 500]]
    strokes = {"width": 800, "height": 700, "strokes": [{"points": points}]}
    answer = server.client.post(GENERATE, json=strokes)
    assert answer.status_code == 200
    assert Image.open(io.BytesIO(answer.content)).size == (SIDE, SIDE)


@pytest.mark.parametrize("size", [32, 64, 100, 1024])
def test_a_picture_has_the_size_that_is_asked_for(server: Running, size: int) -> None:
    answer = server.draw(size=size)
    assert Image.open(io.BytesIO(answer.content)).size == (size, size)


@pytest.mark.parametrize("name", GOOD)
def test_every_kind_of_drawing_is_taken(server: Running, name: str) -> None:
    kind, body = GOOD[name]
    answer = server.client.post(GENERATE, content=body, headers={"Content-Type": kind})
    assert answer.status_code == 200, answer.text
    assert Image.open(io.BytesIO(answer.content)).size == (SIDE, SIDE)


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_drawing_is_answered_with_why(server: Running, name: str) -> None:
    kind, body, status, code = BAD[name]
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
    server: Running, address: str, status: int, code: str
) -> None:
    answer = server.client.post(address, content=GOOD["png"][1], headers=PNG)
    assert is_error(answer, status, code), answer.text


def test_types_are_strict(server: Running) -> None:
    body = GOOD["png"][1]
    for headers in ({}, {"Content-Type": ""}, {**PNG, "Content-Encoding": "gzip"}):
        answer = server.client.post(GENERATE, content=body, headers=headers)
        assert is_error(answer, 415, "wrong_type")


def test_the_list_and_the_examples(server: Running) -> None:
    listed = server.client.get("/v1/models").json()["models"]
    assert [model["name"] for model in listed] == ["bags", "shoes"]
    shoes = listed[1]
    promotion = server.house.shelf.models["shoes"].promotion
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
    for number, example in enumerate(make(0).examples):
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
    with running(store, poll=7) as server:
        assert server.client.get("/v1/models").json() == {"models": []}
        answer = server.draw()
        assert is_error(answer, 503, "no_model")
        assert answer.headers["Retry-After"] == "7"
        ready = server.client.get("/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert server.client.get("/healthz").json() == {"status": "ok"}


class Gate:
    """Something around a generator that holds it up."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.runs = 0

    def __call__(self, draw: Draw) -> Draw:
        def held(
            condition: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
        ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            self.runs += 1
            self.begun.set()
            assert self.go.wait(30)
            return draw(condition)

        return held

    def hold(self) -> None:
        self.runs = 0
        self.go.clear()
        self.begun.clear()


def test_a_full_queue_says_when_to_come_back_and_all_that_was_taken_is_done(
    store: LocalStore,
) -> None:
    promote(store, "shoes", make(0))
    gate = Gate()
    with running(store, gate, workers=1, queue=3) as server:
        gate.hold()
        with ThreadPoolExecutor(8) as threads:
            # One is worked on before others come to wait.
            taken = [threads.submit(server.draw)]
            wait_until(gate.begun.is_set)
            taken += [threads.submit(server.draw) for _ in range(3)]
            wait_until(lambda: len(server.house.work._jobs) == 3)
            refused = [server.draw() for _ in range(3)]
            figures = server.client.get("/metrics").text
            gate.go.set()
            assert [one.result().status_code for one in taken] == [200] * 4
    for answer in refused:
        assert is_error(answer, 503, "busy")
        assert int(answer.headers["Retry-After"]) >= 1
    assert "icanvas_waiting 3.0" in figures
    assert "icanvas_running 1.0" in figures
    assert 'icanvas_drawings_total{model="shoes",outcome="busy"} 3.0' in figures


def test_what_takes_too_long_is_given_up(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    gate = Gate()
    with running(store, gate, workers=1, timeout=0.3) as server:
        gate.hold()
        with ThreadPoolExecutor(2) as threads:
            answers = [one.result() for one in [threads.submit(server.draw) for _ in range(2)]]
        for answer in answers:
            assert is_error(answer, 503, "busy")
            assert "Retry-After" in answer.headers
        gate.go.set()
        wait_until(lambda: not server.house.work._jobs)
        # The one that waited was never begun.
        assert server.draw().status_code == 200
        assert gate.runs == 2


def test_for_a_client_that_went_away_nothing_is_begun(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    gate = Gate()
    body = GOOD["png"][1]
    head = f"POST {GENERATE} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n".encode()
    head += f"Content-Length: {len(body)}\r\n\r\n".encode()
    with running(store, gate, workers=1) as server:
        gate.hold()
        port = int(server.address.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as first:
            first.sendall(head + body)
            assert gate.begun.wait(30)
            with socket.create_connection(("127.0.0.1", port)) as second:
                second.sendall(head + body)
                wait_until(lambda: len(server.house.work._jobs) == 1)
            wait_until(lambda: not server.house.work._jobs)
        gone = 'icanvas_drawings_total{model="shoes",outcome="gone"} 2.0'
        wait_until(lambda: gone in server.client.get("/metrics").text)
        gate.go.set()
        assert server.draw().status_code == 200
        assert gate.runs == 2


def test_a_generator_that_breaks_is_one_answers_fault(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    broken = threading.Event()

    def around(draw: Draw) -> Draw:
        def spoil(
            condition: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
        ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            return draw(condition) * (np.float32("nan") if broken.is_set() else np.float32(1))

        return spoil

    with running(store, around) as server:
        broken.set()
        answer = server.draw()
        assert is_error(answer, 500, "failed")
        assert answer.headers["X-Request-Id"]
        assert "Content-Security-Policy" in answer.headers
        broken.clear()
        assert server.draw().status_code == 200


def test_one_client_gets_only_so_much(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    with running(store, rate=0.01, burst=3) as server:
        answers = [server.draw() for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert is_error(answers[-1], 429, "too_many")
        assert int(answers[-1].headers["Retry-After"]) > 90
        # It is believed from no stranger that it asks for someone else.
        forged = server.client.post(
            GENERATE, content=GOOD["png"][1], headers={**PNG, "X-Forwarded-For": "192.0.2.1"}
        )
        assert forged.status_code == 429
        # Looking costs nothing.
        assert server.client.get("/v1/models").status_code == 200


def test_behind_a_proxy_each_of_its_clients_is_one(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    with running(store, rate=0.01, burst=1, proxies="127.0.0.1") as server:

        def draw(client: str) -> int:
            headers = {**PNG, "X-Forwarded-For": client}
            return server.client.post(GENERATE, content=GOOD["png"][1], headers=headers).status_code

        assert [draw("192.0.2.1"), draw("192.0.2.2"), draw("192.0.2.1")] == [200, 200, 429]
        # What the client itself wrote before the proxy's word counts for nothing.
        assert draw("192.0.2.99, 192.0.2.2") == 429


def test_a_key_is_asked_for_where_one_is_set(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    with running(store, key=KEY) as server:
        for headers in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": KEY[:-1]}, {"X-API-Key": ""}):
            for method, address in (("GET", "/v1/models"), ("POST", GENERATE)):
                answer = server.client.request(method, address, headers=headers)
                assert is_error(answer, 401, "no_key")
                assert answer.headers["WWW-Authenticate"]
        good = {**PNG, "X-API-Key": KEY}
        assert server.client.get("/v1/models", headers=good).status_code == 200
        answer = server.client.post(GENERATE, content=GOOD["png"][1], headers=good)
        assert answer.status_code == 200
        assert server.client.get("/readyz").status_code == 200
        described = server.client.get("/openapi.json").json()
        assert described["paths"]["/v1/models"]["get"]["security"]
        assert KEY not in server.client.get("/metrics").text


def test_a_body_that_does_not_come_is_given_up(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    with running(store, body_timeout=0.3) as server:
        port = int(server.address.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
            line.sendall(
                f"POST {GENERATE} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
                "Content-Length: 5000\r\n\r\nabc".encode()
            )
            assert line.recv(100).startswith(b"HTTP/1.1 408 ")
        assert server.draw().status_code == 200


def test_a_body_without_a_length_is_cut_at_the_limit(server: Running) -> None:
    def send() -> "list[bytes]":
        return [GOOD["png"][1]] + [bytes(1 << 20)] * 5

    answer = server.client.post(GENERATE, content=iter(send()), headers=PNG)
    assert is_error(answer, 413, "too_large")


def test_only_so_many_bodies_arrive_at_once(store: LocalStore) -> None:
    """Of all clients, and of one: nobody may keep the others out by sending slowly."""
    promote(store, "shoes", make(0))
    begun = (
        f"POST {GENERATE} HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
        "Content-Length: 5000\r\n\r\nabc"
    ).encode()
    with running(store, queue=1) as server:
        port = int(server.address.rsplit(":", 1)[1])

        def begin(client: int) -> socket.socket:
            line = socket.create_connection(("127.0.0.1", port), 30, (f"127.0.0.{client}", 0))
            line.sendall(begun)
            return line

        arriving = server.house.bodies._arriving
        lines = [begin(2)]
        wait_until(lambda: arriving.total() == 1)
        theirs = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=theirs, base_url=server.address) as second:
            answer = second.post(GENERATE, content=GOOD["png"][1], headers=PNG)
        assert is_error(answer, 429, "too_many")
        assert server.draw().status_code == 200, "another client was kept out"
        lines += [begin(client) for client in (3, 4, 5)]
        wait_until(lambda: arriving.total() == 4)
        assert is_error(server.draw(), 503, "busy")
        for line in lines:
            line.close()
        wait_until(lambda: not arriving)
        assert server.draw().status_code == 200


def test_every_answer_tells_browsers_what_not_to_do(server: Running) -> None:
    for address in ("/", "/v1/models", "/nowhere", GENERATE, "/healthz"):
        headers = server.client.get(address).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy and "http" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert len(headers["X-Request-Id"]) == 32
        assert "Server" not in headers
        assert "Access-Control-Allow-Origin" not in headers
    assert server.draw().headers["Cache-Control"] == "no-store"


def test_pages_of_other_origins_are_let_in_by_a_setting(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    origin = "https://draw.example.com"
    with running(store, origins=f"{origin},https://other.example.com") as server:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "content-type"
        answer = server.client.options(GENERATE, headers=asked)
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        answer = server.client.get("/v1/models", headers={"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert "X-Model-Version" in answer.headers["Access-Control-Expose-Headers"]
        stranger = server.client.get("/v1/models", headers={"Origin": "https://evil.example.com"})
        assert "Access-Control-Allow-Origin" not in stranger.headers


def test_figures_are_told(server: Running) -> None:
    assert server.draw().status_code == 200
    assert server.draw(name="hats").status_code == 404
    figures = server.client.get("/metrics").text
    version = server.house.shelf.models["shoes"].promotion.export
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
    with running(store, metrics=False) as server:
        assert is_error(server.client.get("/metrics"), 404, "not_found")


def test_nothing_is_stored_unless_a_setting_says_so(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    before = list(store.list("models"))
    with running(store) as server:
        assert server.draw().status_code == 200
    assert list(store.list("models")) == before
    assert not list(store.list("drawings"))
    with running(store, keep=True) as server:
        picture = server.draw(number=4).content
        assert server.client.post(GENERATE, content=b"", headers=PNG).status_code == 415
    kept = list(store.list("drawings/shoes"))
    assert len(kept) == 2
    drawing, made = (store.get(key) for key in kept)
    assert made == picture
    image = Image.open(io.BytesIO(drawing))
    assert (image.size, image.mode) == ((SIDE, SIDE), "L")


def test_the_gate_keeps_pictures_back(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    with running(store, safety=True, safety_threshold=1.0) as server:
        answer = server.draw()
        assert answer.status_code == 200
        assert "check;dur=" in answer.headers["Server-Timing"]
    with running(store, safety=True, safety_threshold=1e-9) as server:
        assert is_error(server.draw(), 451, "not_shown")


def test_many_small_pieces_are_one_body(server: Running) -> None:
    body = json.dumps(
        {"width": 100, "height": 100, "strokes": [{"points": [[1, 1], [90, 40], [30, 80]]}]}
    ).encode()
    pieces = (body[at : at + 1] for at in range(len(body)))
    headers = {"Content-Type": "application/json"}
    assert server.client.post(GENERATE, content=pieces, headers=headers).status_code == 200


def test_accepted_drawings_are_finished_at_the_end(store: LocalStore) -> None:
    promote(store, "shoes", make(0))
    gate = Gate()
    found: list[httpx.Response] = []
    with running(store, gate, workers=1) as server:
        gate.hold()
        address, body = server.address + GENERATE, GOOD["png"][1]

        def draw() -> None:
            found.append(httpx.post(address, content=body, headers=PNG, timeout=60))

        threads = [threading.Thread(target=draw) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: gate.begun.is_set() and len(server.house.work._jobs) == 2)
        threading.Timer(0.5, gate.go.set).start()
    # The server has ended by now.
    for thread in threads:
        thread.join(30)
    assert [answer.status_code for answer in found] == [200] * 3


def test_a_refused_client_reads_why_though_it_still_sends(server: Running) -> None:
    body = bytes(6 << 20)
    began = time.monotonic()
    answer = server.client.post("/v1/models/hats/generate", content=body, headers=PNG)
    assert is_error(answer, 404, "unknown_model")
    assert time.monotonic() - began < 30


def test_a_drawing_that_is_no_square_is_taken(server: Running) -> None:
    sheet = np.full((40, 900), 255, np.uint8)
    sheet[5:35].reshape(30, 18, 50)[:, 2:16, 20:26] = 0
    answer = server.client.post(GENERATE, content=encode_png(sheet), headers=PNG)
    assert answer.status_code == 200
