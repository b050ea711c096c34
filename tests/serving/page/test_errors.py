"""Tests of the drawing page with a busy, failing, restarting or empty server."""

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

from storage import LocalStore
from tests.serving.exports import export_random_generator, promote
from tests.serving.live_server import (
    GeneratorBlocker,
    RunningServer,
    run_test_server,
    wait_until,
)
from tests.serving.page.browser import ACROSS, SQUARE, decode_pixels, open_page, request_picture

ROOT = Path(__file__).parents[3]


pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    promote(store, "shoes", export_random_generator(0))
    return store


@contextmanager
def fill_queue(server: RunningServer, blocker: GeneratorBlocker) -> Iterator[None]:
    """Fill the queue within the block, so that further requests are answered with 503."""
    blocker.block()
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(server.post_drawing().status_code))
        for _ in range(3)
    ]
    threads[0].start()
    # The worker takes the first request out of the queue before the others arrive.
    wait_until(blocker.started.is_set)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: statuses == [503])
    try:
        yield
    finally:
        blocker.released.set()
        for thread in threads:
            thread.join()


def test_newer_drawing_replaces_the_request(browser: Browser, store: LocalStore) -> None:
    blocker = GeneratorBlocker()
    with (
        run_test_server(store, blocker, workers=1) as server,
        open_page(browser, server.address) as driver,
    ):
        driver.expect_state("empty")
        blocker.block()
        with driver.page.expect_request("**/generate") as first:
            driver.draw(SQUARE)
        driver.expect_state("working")
        with driver.page.expect_request("**/generate"):
            driver.draw(ACROSS)
        blocker.released.set()
        driver.expect_picture()
        assert first.value.failure is not None
        assert decode_pixels(driver.get_shown_picture()).tolist() == (
            decode_pixels(request_picture(server, "shoes", driver.sent_drawings[-1])).tolist()
        )
        # Continuous drawing sends one request.
        count = len(driver.sent_drawings)

        def draw_on() -> None:
            for x in (0.3, 0.4, 0.6):
                driver.draw([(x, 0.3), (x, 0.7)])

        driver.wait_for_new_picture(draw_on)
        assert len(driver.sent_drawings) == count + 1


def test_busy_server_is_retried(browser: Browser, store: LocalStore) -> None:
    blocker = GeneratorBlocker()
    with (
        run_test_server(store, blocker, workers=1, queue_size=1) as server,
        open_page(browser, server.address) as driver,
    ):
        driver.expect_state("empty")
        with fill_queue(server, blocker):
            with driver.page.expect_response("**/generate") as response_info:
                driver.draw(SQUARE)
            assert response_info.value.status == 503
            driver.expect_state("busy")
            driver.expect_notice("Many children are painting")
        driver.expect_picture()


def test_rate_limit_is_waited_for(browser: Browser, store: LocalStore) -> None:
    with (
        run_test_server(store, rate=0.5, burst=1) as server,
        open_page(browser, server.address) as driver,
    ):
        first = driver.wait_for_new_picture(lambda: driver.draw(SQUARE))
        driver.draw(ACROSS)
        driver.expect_state("too_many")
        driver.expect_notice("again in")
        driver.expect_picture()
        assert driver.get_shown_picture() != first


def test_page_waits_for_the_first_model(browser: Browser, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "nothing yet")
    with run_test_server(store) as server, open_page(browser, server.address) as driver:
        driver.expect_state("no_model")
        driver.expect_notice("paints are still being mixed")
        driver.draw(SQUARE)
        promote(store, "shoes", export_random_generator(0))
        server.poll()
        driver.expect_picture()
        assert driver.measure_ink() > 0


def test_new_promotion_refreshes_the_cards(browser: Browser, store: LocalStore) -> None:
    with run_test_server(store) as server, open_page(browser, server.address) as driver:
        old = driver.wait_for_new_picture(lambda: driver.draw(SQUARE))
        promote(store, "shoes", export_random_generator(1))
        server.poll()
        driver.wait_for_new_picture(lambda: driver.draw(ACROSS))
        driver.wait_for_new_picture(lambda: driver.press("Undo"))
        assert driver.get_shown_picture() != old
        # The model's card shows the new example.
        version = server.client.get("/v1/models").json()["models"][0]["version"]
        card = driver.page.locator(".card img")
        expect(card).to_have_attribute(
            "src", f"{server.address}/v1/models/shoes/examples/0/picture.png?version={version}"
        )


def test_promotion_keeps_the_traced_outline(browser: Browser, store: LocalStore) -> None:
    """Promotions of another model, and of the model itself."""
    with run_test_server(store) as server, open_page(browser, server.address) as driver:
        outline = driver.page.locator("#traced-outline")
        driver.pick("Outline 2")
        previous_src = outline.get_attribute("src")
        for name, exported in (
            ("bags", export_random_generator(0)),
            ("shoes", export_random_generator(1)),
        ):
            promote(store, name, exported)
            server.poll()
            with driver.page.expect_response("**/v1/models") as response_info:
                # This makes the page fetch the models immediately.
                driver.page.evaluate("window.dispatchEvent(new Event('online'))")
            version = response_info.value.json()["models"][-1]["version"]
            card = driver.page.locator(".card img").last
            expect(card).to_have_attribute("src", re.compile(f"version={version}$"))
            expect(driver.page.locator(".card")).to_have_count(2)
            assert outline.get_attribute("src") == previous_src
            expect(outline).to_be_visible()
        outlines = driver.page.locator("#outlines img").first
        expect(outlines).to_have_attribute("src", re.compile(f"version={version}$"))
        driver.pick("Empty sheet")
        expect(outline).to_be_hidden()


def test_api_key_is_read_from_the_url(browser: Browser, store: LocalStore) -> None:
    key = "key-of-the-tests-1"
    with run_test_server(store, key=key) as server:
        with open_page(browser, server.address) as driver:
            driver.expect_state("no_key")
        with open_page(browser, f"{server.address}/#key={key}") as driver:
            driver.wait_for_new_picture(lambda: driver.draw(SQUARE))
            assert "#" not in driver.page.url
            card = driver.page.locator(".card img")
            expect(card).to_have_js_property("naturalWidth", 64)
            driver.pick("Outline 1")
            expect(driver.page.locator("#traced-outline")).to_have_js_property("naturalWidth", 256)


@contextmanager
def run_serve_process(store: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run `icanvas serve` as a process within the block."""
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
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None and time.monotonic() < deadline
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()


def test_page_recovers_when_the_server_restarts(
    browser: Browser, store: LocalStore, tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / "store"
    with (
        run_serve_process(folder, port) as process,
        open_page(browser, f"http://127.0.0.1:{port}/") as driver,
    ):
        first = driver.wait_for_new_picture(lambda: driver.draw(SQUARE))
        process.send_signal(signal.SIGKILL)
        process.wait()
        driver.draw(ACROSS)
        driver.expect_state("offline")
        driver.expect_notice("Your drawing is safe")
        # Picture and drawing stay, and can be continued and saved.
        assert driver.get_shown_picture() == first
        driver.draw([(0.5, 0.1), (0.5, 0.9)])
        with driver.page.expect_download():
            driver.press("Save")
        ink = driver.measure_ink()
        with run_serve_process(folder, port):
            driver.expect_picture()
            assert driver.get_shown_picture() != first
            assert len(driver.sent_drawings[-1]["strokes"]) == 3
            assert driver.measure_ink() == ink
