"""What the drawing page shows when all is not well, made so by what really goes wrong."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from serving.engines import Array, GenerateFn
from storage import LocalStore
from tests.serving.exports import export_random_generator, promote
from tests.serving.live_server import RunningServer, run_test_server, wait_until
from tests.serving.page.browser import ACROSS, SQUARE, request_picture, open_page, decode_pixels

ROOT = Path(__file__).parents[3]


class Gate:
    """Something that holds up a generator."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()

    def around(self, draw: GenerateFn) -> GenerateFn:
        def held(condition: Array) -> Array:
            assert self.open.wait(120)
            return draw(condition)

        return held


pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    promote(store, "shoes", export_random_generator(0))
    return store


@contextmanager
def filled(server: RunningServer, gate: Gate) -> Iterator[None]:
    """Have others draw, so many that the next one is refused, until the gate opens."""
    gate.open.clear()
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.post_drawing().status_code)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: answers == [503])
    try:
        yield
    finally:
        gate.open.set()
        for thread in threads:
            thread.join()


def test_the_latest_drawing_counts(browser: Browser, store: LocalStore) -> None:
    gate = Gate()
    with (
        run_test_server(store, gate.around, workers=1) as server,
        open_page(browser, server.address) as desk,
    ):
        desk.expect_state("empty")
        gate.open.clear()
        with desk.page.expect_request("**/generate") as first:
            desk.draw(SQUARE)
        desk.expect_state("working")
        with desk.page.expect_request("**/generate"):
            desk.draw(ACROSS)
        gate.open.set()
        desk.expect_picture()
        assert first.value.failure is not None
        assert decode_pixels(desk.get_shown_picture()).tolist() == (
            decode_pixels(request_picture(server, "shoes", desk.sent_drawings[-1])).tolist()
        )
        # A hand that goes on drawing asks for one picture.
        count = len(desk.sent_drawings)

        def draw_on() -> None:
            for x in (0.3, 0.4, 0.6):
                desk.draw([(x, 0.3), (x, 0.7)])

        desk.wait_for_new_picture(draw_on)
        assert len(desk.sent_drawings) == count + 1


def test_a_busy_server_is_waited_for(browser: Browser, store: LocalStore) -> None:
    gate = Gate()
    with (
        run_test_server(store, gate.around, workers=1, queue=1) as server,
        open_page(browser, server.address) as desk,
    ):
        desk.expect_state("empty")
        with filled(server, gate):
            with desk.page.expect_response("**/generate") as answer:
                desk.draw(SQUARE)
            assert answer.value.status == 503
            desk.expect_state("busy")
            desk.expect_notice("Many children are painting")
        desk.expect_picture()


def test_a_hand_that_is_too_quick_pauses(browser: Browser, store: LocalStore) -> None:
    with (
        run_test_server(store, rate=0.5, burst=1) as server,
        open_page(browser, server.address) as desk,
    ):
        first = desk.wait_for_new_picture(lambda: desk.draw(SQUARE))
        desk.draw(ACROSS)
        desk.expect_state("too_many")
        desk.expect_notice("again in")
        desk.expect_picture()
        assert desk.get_shown_picture() != first


def test_without_a_model_it_waits_for_one(browser: Browser, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "nothing yet")
    with run_test_server(store) as server, open_page(browser, server.address) as desk:
        desk.expect_state("no_model")
        desk.expect_notice("paints are still being mixed")
        desk.draw(SQUARE)
        promote(store, "shoes", export_random_generator(0))
        server.poll()
        desk.expect_picture()
        assert desk.measure_ink() > 0


def test_a_new_promotion_is_noticed(browser: Browser, store: LocalStore) -> None:
    with run_test_server(store) as server, open_page(browser, server.address) as desk:
        old = desk.wait_for_new_picture(lambda: desk.draw(SQUARE))
        promote(store, "shoes", export_random_generator(1))
        server.poll()
        desk.wait_for_new_picture(lambda: desk.draw(ACROSS))
        desk.wait_for_new_picture(lambda: desk.press("Undo"))
        assert desk.get_shown_picture() != old
        # Its card shows what it draws now.
        version = server.client.get("/v1/models").json()["models"][0]["version"]
        card = desk.page.locator(".card img")
        expect(card).to_have_attribute(
            "src", f"{server.address}/v1/models/shoes/examples/0/picture.png?version={version}"
        )


def test_a_promotion_leaves_what_is_traced(browser: Browser, store: LocalStore) -> None:
    """Of the model itself, and of another one."""
    with run_test_server(store) as server, open_page(browser, server.address) as desk:
        below = desk.page.locator("#outline-below")
        desk.pick("Outline 2")
        before = below.get_attribute("src")
        for name, made in (("bags", export_random_generator(0)), ("shoes", export_random_generator(1))):
            promote(store, name, made)
            server.poll()
            with desk.page.expect_response("**/v1/models") as answer:
                # Then it asks at once, which it does every minute.
                desk.page.evaluate("window.dispatchEvent(new Event('online'))")
            version = answer.value.json()["models"][-1]["version"]
            card = desk.page.locator(".card img").last
            expect(card).to_have_attribute("src", re.compile(f"version={version}$"))
            expect(desk.page.locator(".card")).to_have_count(2)
            assert below.get_attribute("src") == before
            expect(below).to_be_visible()
        outlines = desk.page.locator("#outlines img").first
        expect(outlines).to_have_attribute("src", re.compile(f"version={version}$"))
        desk.pick("Empty sheet")
        expect(below).to_be_hidden()


def test_a_server_that_asks_for_a_key(browser: Browser, store: LocalStore) -> None:
    key = "a key of the tests' own"
    with run_test_server(store, key=key) as server:
        with open_page(browser, server.address) as desk:
            desk.expect_state("no_key")
        with open_page(browser, f"{server.address}/#key={key}") as desk:
            desk.wait_for_new_picture(lambda: desk.draw(SQUARE))
            assert "#" not in desk.page.url
            card = desk.page.locator(".card img")
            expect(card).to_have_js_property("naturalWidth", 64)
            desk.pick("Outline 1")
            expect(desk.page.locator("#outline-below")).to_have_js_property("naturalWidth", 256)


@contextmanager
def serving(store: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`icanvas serve` as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "serve", "--port", str(port), "--allow-root"],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "ICANVAS_STORE": str(store),
            "ICANVAS_SERVE_ENGINE": "onnxruntime",
        },
        stdout=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 120
        while True:
            assert process.poll() is None and time.monotonic() < until
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_server_that_dies_comes_back(browser: Browser, store: LocalStore, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / "store"
    with serving(folder, port) as process, open_page(browser, f"http://127.0.0.1:{port}/") as desk:
        first = desk.wait_for_new_picture(lambda: desk.draw(SQUARE))
        process.send_signal(signal.SIGKILL)
        process.wait()
        desk.draw(ACROSS)
        desk.expect_state("away")
        desk.expect_notice("Your drawing is safe")
        # What there is stays, can be drawn on, and saved.
        assert desk.get_shown_picture() == first
        desk.draw([(0.5, 0.1), (0.5, 0.9)])
        with desk.page.expect_download():
            desk.press("Save")
        ink = desk.measure_ink()
        with serving(folder, port):
            desk.expect_picture()
            assert desk.get_shown_picture() != first
            assert len(desk.sent_drawings[-1]["strokes"]) == 3
            assert desk.measure_ink() == ink
