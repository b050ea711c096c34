"""Traces an outline at three viewport sizes; --shots FOLDER saves the screenshots.

--address URL uses a running server, and --outline shoes/2 chooses the outline.
"""

import io
import math
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from postprocess import trace_strokes
from tests.serving.live_server import RunningServer
from tests.serving.page.browser import Line, open_page

# Distance in pixels between the points of a traced outline.
STEP = 4


@pytest.fixture
def address(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> str:
    url = pytestconfig.getoption("--address")
    if url:
        return f"{url.rstrip('/')}/"
    server: RunningServer = request.getfixturevalue("server")
    return f"{server.address}/"


def add_hand_jitter(x: float, y: float) -> tuple[float, float]:
    """Move a point a little, as a hand does that traces it."""
    return (
        x + 0.006 * math.sin(9 * y + 5 * x) + 0.001 * math.sin(30 * y),
        y + 0.006 * math.sin(8 * x + 3 * y + 1) + 0.001 * math.sin(27 * x),
    )


def trace_outline(drawing: bytes) -> Iterator[Line]:
    """Yield the strokes of an outline, as a hand traces them."""
    pixels = np.asarray(Image.open(io.BytesIO(drawing)).convert("L"))
    strokes = trace_strokes(np.where(pixels < 128, 0, 255).astype(np.uint8))
    for stroke in strokes:
        # Very short strokes are left out.
        if len(stroke) > 2 * STEP:
            points = [*stroke[:-1:STEP], stroke[-1]]
            yield [
                add_hand_jitter(float(x) / len(pixels), float(y) / len(pixels)) for x, y in points
            ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "locale", "show_outline"),
    [
        ("phone", "phone", "ko-KR", False),
        ("tablet", "tablet on its side", "en-GB", True),
        ("desktop", "desktop", "en-GB", False),
    ],
)
def test_traced_outline_shows_a_picture(
    browser: Browser,
    address: str,
    name: str,
    size: str,
    locale: str,
    show_outline: bool,
    tmp_path: Path,
    pytestconfig: pytest.Config,
) -> None:
    folder = Path(pytestconfig.getoption("--shots") or tmp_path)
    models = httpx.get(f"{address}v1/models").json()["models"]
    model, _, number = (pytestconfig.getoption("--outline") or models[0]["name"]).partition("/")
    example = f"{address}v1/models/{model}/examples/{number or 0}/drawing.png"
    with open_page(browser, address, size, locale, device_scale_factor=2) as driver:
        driver.page.locator(f".card:has([value='{model}'])").click()
        if show_outline:
            driver.page.locator(".outline").nth(int(number or 0) + 1).click()
        previous_src = driver.page.locator("#picture").get_attribute("src")
        for line in trace_outline(httpx.get(example).content):
            driver.draw(line, steps=2)
        driver.expect_picture(other_than=previous_src or "")
        driver.page.mouse.move(5, 5)
        driver.page.screenshot(path=folder / f"draw-{name}.png")
        assert driver.measure_ink() > 0.005
