"""Drivers for tests of the drawing page: the page in a browser, and mouse, touch and pen input."""

import base64
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from tests.serving.live_server import RunningServer

# Many times what an idle machine needs.
TIMEOUT_MS = 60_000
SIZES = {
    "phone": (390, 844),
    "tablet": (820, 1180),
    "tablet on its side": (1180, 820),
    "desktop": (1440, 900),
}

Line = Sequence[tuple[float, float]]

# Lines in fractions of the sheet's side.
SQUARE: Line = [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.2)]
ACROSS: Line = [(0.1, 0.5), (0.9, 0.5)]

_MEASURE_INK_JS = """([left, top, right, bottom]) => {
  const sheet = document.getElementById("sheet");
  const at = (share) => Math.round(share * sheet.width);
  const [x, y, width_px, height_px] = [at(left), at(top), at(right - left), at(bottom - top)];
  const copy = new OffscreenCanvas(width_px, height_px).getContext("2d");
  copy.drawImage(sheet, -x, -y);
  const { data } = copy.getImageData(0, 0, width_px, height_px);
  let inked = 0;
  for (let place = 3; place < data.length; place += 4) inked += data[place] > 127;
  return inked / (width_px * height_px);
}"""


def decode_pixels(picture: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


def request_picture(server: RunningServer, model: str, drawing: object) -> bytes:
    """Return the picture that the API generates from strokes."""
    response = server.client.post(f"/v1/models/{model}/generate", json=drawing)
    assert response.status_code == 200, response.text
    return response.content


@contextmanager
def open_browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium; on Debian: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        expect.set_options(timeout=TIMEOUT_MS)
        yield browser
        browser.close()


@dataclass
class PageDriver:
    """Drives an open drawing page, and records its requests and console errors.

    Attributes
    ----------
    page : Page
        Playwright's page.
    requests : list of Request
        All requests of the page.
    console_errors : list of str
        Uncaught errors, and errors and warnings of the console.
    """

    page: Page
    requests: list[Request] = field(default_factory=list)
    console_errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.on("pageerror", lambda error: self.console_errors.append(str(error)))
        self.page.on("console", lambda message: self._record_console(message.type, message.text))

    def _record_console(self, kind: str, text: str) -> None:
        # Some tests cause error responses on purpose.
        if kind in ("error", "warning") and "Failed to load resource" not in text:
            self.console_errors.append(text)

    @property
    def frame(self) -> Any:
        return self.page.locator("#frame")

    @property
    def sent_drawings(self) -> list[Any]:
        """Bodies of the generate requests so far."""
        return [request.post_data_json for request in self.requests if request.method == "POST"]

    def to_screen(self, x: float, y: float) -> tuple[float, float]:
        """Convert fractions of the sheet to pixels of the viewport."""
        box = self.page.locator("#sheet").bounding_box()
        assert box is not None
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def draw(self, line: Line, steps: int = 8) -> None:
        """Draw a line with the mouse."""
        mouse = self.page.mouse
        mouse.move(*self.to_screen(*line[0]))
        mouse.down()
        for point in line[1:]:
            mouse.move(*self.to_screen(*point), steps=steps)
        mouse.up()

    def wait_for_new_picture(self, action: Callable[[], object]) -> bytes:
        """Call a function, and return the new picture that is shown afterwards, as PNG."""
        previous_src = self.page.locator("#picture").get_attribute("src")
        action()
        self.expect_picture(other_than=previous_src)
        return self.get_shown_picture()

    def expect_picture(self, other_than: str | None = None) -> None:
        picture = self.page.locator("#picture")
        if other_than is not None:
            expect(picture).not_to_have_attribute("src", other_than)
        expect(picture).to_be_visible()
        self.expect_state("ready")

    def get_shown_picture(self) -> bytes:
        """Return the picture that is shown, as PNG."""
        data_url = self.page.locator("#picture").evaluate(
            """async (picture) => {
                 await picture.decode();
                 const canvas = document.createElement("canvas");
                 [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
                 canvas.getContext("2d").drawImage(picture, 0, 0);
                 return canvas.toDataURL("image/png").split(",")[1];
               }"""
        )
        return base64.b64decode(data_url)

    def expect_state(self, state: str) -> None:
        expect(self.frame).to_have_attribute("data-state", state)

    def expect_notice(self, words: str) -> None:
        """Expect a text in the picture's frame."""
        expect(self.page.locator("#notice")).to_be_visible()
        expect(self.page.locator("#notice")).to_contain_text(words)

    def measure_ink(
        self, left: float = 0, top: float = 0, right: float = 1, bottom: float = 1
    ) -> float:
        """Return the fraction of a part of the sheet that is inked on the screen, in [0, 1]."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(done))")
        return float(self.page.evaluate(_MEASURE_INK_JS, [left, top, right, bottom]))

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def pick(self, name: str) -> None:
        """Choose a radio button by its label."""
        self.page.get_by_role("radio", name=name, exact=True).check()


class TouchInput:
    """Sends touch and pen events through Chromium's DevTools protocol."""

    def __init__(self, driver: PageDriver) -> None:
        self._driver = driver
        self._session = driver.page.context.new_cdp_session(driver.page)
        self._down: dict[int, tuple[float, float]] = {}

    def touch(self, finger: int, x: float, y: float) -> None:
        self._down[finger] = self._driver.to_screen(x, y)
        self._send("touchStart")

    def move(self, finger: int, x: float, y: float) -> None:
        self._down[finger] = self._driver.to_screen(x, y)
        self._send("touchMove")

    def lift(self, finger: int) -> None:
        del self._down[finger]
        self._send("touchEnd")

    def draw(self, line: Line) -> None:
        self.touch(0, *line[0])
        for point in line[1:]:
            self.move(0, *point)
        self.lift(0)

    def pen(self, event: str, x: float, y: float, force: float = 0.5) -> None:
        """Press, move or release the pen."""
        kind = {"press": "mousePressed", "move": "mouseMoved", "release": "mouseReleased"}[event]
        left, top = self._driver.to_screen(x, y)
        self._session.send(
            "Input.dispatchMouseEvent",
            {
                "type": kind,
                "x": left,
                "y": top,
                "button": "left",
                "buttons": 0 if event == "release" else 1,
                "clickCount": 1,
                "pointerType": "pen",
                "force": force,
            },
        )

    def _send(self, kind: str) -> None:
        points = [{"id": finger, "x": x, "y": y} for finger, (x, y) in self._down.items()]
        self._session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


@contextmanager
def open_page(
    browser: Browser, address: str, size: str = "desktop", locale: str = "en-GB", **options: Any
) -> Iterator[PageDriver]:
    """Open the page within the block.

    At the end, fail if there were console errors or requests to other origins.
    """
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale=locale, **options
    )
    driver = PageDriver(context.new_page())
    driver.page.goto(address)
    try:
        yield driver
    finally:
        context.close()
    assert not driver.console_errors, driver.console_errors
    urls = [
        request.url for request in driver.requests if not request.url.startswith(("blob:", "data:"))
    ]
    origin = "/".join(address.split("/")[:3])
    assert all(url.startswith(origin) for url in urls), urls
