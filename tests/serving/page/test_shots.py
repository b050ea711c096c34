"""A child traces an outline, at three sizes; with --shots the screenshots are kept.

With --address they are of a server that runs somewhere, and --outline shoes/2 is what is traced.
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

# Every so many pixels of the outline the hand is somewhere.
STEP = 4


@pytest.fixture
def address(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> str:
    given = pytestconfig.getoption("--address")
    if given:
        return f"{given.rstrip('/')}/"
    server: RunningServer = request.getfixturevalue("server")
    return f"{server.address}/"


def add_hand_jitter(x: float, y: float) -> tuple[float, float]:
    """Where a hand ends up that means a place: near it."""
    return (
        x + 0.006 * math.sin(9 * y + 5 * x) + 0.001 * math.sin(30 * y),
        y + 0.006 * math.sin(8 * x + 3 * y + 1) + 0.001 * math.sin(27 * x),
    )


def trace_outline(drawing: bytes) -> Iterator[Line]:
    """The strokes of an outline, drawn by hand."""
    pixels = np.asarray(Image.open(io.BytesIO(drawing)).convert("L"))
    strokes = trace_strokes(np.where(pixels < 128, 0, 255).astype(np.uint8))
    for stroke in strokes:
        # What is shorter a hand leaves out.
        if len(stroke) > 2 * STEP:
            chosen = [*stroke[:-1:STEP], stroke[-1]]
            yield [add_hand_jitter(float(x) / len(pixels), float(y) / len(pixels)) for x, y in chosen]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shot", "size", "locale", "below"),
    [
        ("phone", "phone", "ko-KR", False),
        ("tablet", "tablet on its side", "en-GB", True),
        ("desktop", "desktop", "en-GB", False),
    ],
)
def test_a_traced_outline_becomes_a_picture(
    browser: Browser,
    address: str,
    shot: str,
    size: str,
    locale: str,
    below: bool,
    tmp_path: Path,
    pytestconfig: pytest.Config,
) -> None:
    folder = Path(pytestconfig.getoption("--shots") or tmp_path)
    models = httpx.get(f"{address}v1/models").json()["models"]
    model, _, number = (pytestconfig.getoption("--outline") or models[0]["name"]).partition("/")
    example = f"{address}v1/models/{model}/examples/{number or 0}/drawing.png"
    with open_page(browser, address, size, locale, device_scale_factor=2) as desk:
        desk.page.locator(f".card:has([value='{model}'])").click()
        if below:
            desk.page.locator(".outline").nth(int(number or 0) + 1).click()
        before = desk.page.locator("#picture").get_attribute("src")
        for line in trace_outline(httpx.get(example).content):
            desk.draw(line, steps=2)
        desk.expect_picture(other_than=before or "")
        desk.page.mouse.move(5, 5)
        desk.page.screenshot(path=folder / f"draw-{shot}.png")
        assert desk.measure_ink() > 0.005
