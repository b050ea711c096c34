"""Property tests of the page's stroke geometry, run in the browser."""

import math
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page

from tests.serving.live_server import RunningServer
from tests.serving.page.browser import open_page

Point = tuple[float, float, float]

coordinates = st.floats(-100, 1100, allow_nan=False).map(lambda value: round(value, 2))
points = st.tuples(coordinates, coordinates, st.sampled_from([5.0, 10.0, 24.0]))
lines = st.lists(points, min_size=1, max_size=8)
positions = st.tuples(coordinates, coordinates)
fast_settings = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def page(browser: Browser, server: RunningServer) -> Iterator[Page]:
    with open_page(browser, server.address) as driver:
        driver.page.evaluate("async () => { window.strokes = await import('/static/strokes.js'); }")
        yield driver.page


def interpolate_points(stroke: list[Point]) -> Iterator[Point]:
    """Yield 20 points of each segment of a stroke."""
    yield stroke[0]
    for a, b in pairwise(stroke):
        for step in range(1, 21):
            t = step / 20
            x, y, width = (
                start_value + (end_value - start_value) * t
                for start_value, end_value in zip(a, b, strict=True)
            )
            yield x, y, width


def distance_to_segment(
    point: Point, start: tuple[float, float], end: tuple[float, float]
) -> float:
    """Return the distance of a point from a segment."""
    vx, vy = end[0] - start[0], end[1] - start[1]
    square = vx * vx + vy * vy
    t = ((point[0] - start[0]) * vx + (point[1] - start[1]) * vy) / square if square else 0
    t = min(1.0, max(0.0, t))
    return math.hypot(point[0] - start[0] - t * vx, point[1] - start[1] - t * vy)


@fast_settings
@given(stroke=lines, start=positions, end=positions)
def test_eraser_removes_the_covered_ink_only(
    page: Page, stroke: list[Point], start: tuple[float, float], end: tuple[float, float]
) -> None:
    parts = page.evaluate(
        "([stroke, from, to]) => strokes.erase([stroke], from, to, 32)", [stroke, start, end]
    )
    remaining = [point for part in parts for point in interpolate_points(part)]
    for x, y, width in remaining:
        assert distance_to_segment((x, y, width), start, end) - width / 2 >= 32 - 1e-6
    for point in interpolate_points(stroke):
        if distance_to_segment(point, start, end) > 32 + 24 / 2 + 6:
            nearest = min(
                (math.hypot(point[0] - x, point[1] - y) for x, y, _ in remaining), default=9e9
            )
            # A part of a split stroke is sampled at other points.
            assert nearest < 1500 / 20


@fast_settings
@given(stroke=lines)
def test_clipping_keeps_what_is_on_the_sheet(page: Page, stroke: list[Point]) -> None:
    parts = page.evaluate("(stroke) => strokes.clipToSheet(stroke)", stroke)
    for part in parts:
        for x, y, _ in part:
            assert -1e-6 <= x <= 1000 + 1e-6 and -1e-6 <= y <= 1000 + 1e-6
    if all(0 <= x <= 1000 and 0 <= y <= 1000 for x, y, _ in stroke):
        assert [[list(point) for point in part] for part in parts] == [list(map(list, stroke))]
    if len(stroke) > 1:
        inside = sum(math.dist(a[:2], b[:2]) for part in parts for a, b in pairwise(part))
        samples = list(interpolate_points(stroke))
        expected = sum(
            math.dist(a[:2], b[:2])
            for a, b in pairwise(samples)
            if all(0 <= value <= 1000 for value in ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2))
        )
        # Sampling errs by one step on either side of each crossed edge.
        assert abs(inside - expected) <= 2 * 1700 / 20 * len(stroke)


@fast_settings
@given(stroke=lines)
def test_simplification_stays_within_its_tolerance(page: Page, stroke: list[Point]) -> None:
    smooth, simple = page.evaluate(
        """(points) => {
          const smoother = new strokes.Smoother();
          const line = points.flatMap((point) => smoother.push(point));
          line.push(...smoother.finish());
          return [line, strokes.simplify(line)];
        }""",
        stroke,
    )
    assert len(simple) <= len(smooth)
    assert simple[0] == smooth[0] == list(stroke[0])
    assert simple[-1] == smooth[-1]
    for point in smooth:
        assert (
            min(
                (distance_to_segment(point, a[:2], b[:2]) for a, b in pairwise(simple)),
                default=math.dist(point[:2], simple[0][:2]),
            )
            <= 0.4 + 1e-6
        )
