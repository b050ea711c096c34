import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from config.errors import InputError
from postprocess import compare_drawings, drawing_extent, normalise_sketch
from postprocess.thin import thin
from tests.postprocess.sketches import MEDIA, Array, load_lines, pencil

NAMES = ("1F32D.png", "1F402.png", "1F42D.png")


def agreement(one: Array, two: Array, tolerance: int = 3) -> float:
    return compare_drawings(one, two, tolerance).f1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("medium", MEDIA)
def test_whatever_it_was_drawn_with_the_lines_are_the_same(name: str, medium: str) -> None:
    lines = load_lines(name)
    expected = normalise_sketch(lines)
    assert 0.005 < (expected == 0).mean() < 0.1
    assert agreement(normalise_sketch(MEDIA[medium](lines)), expected) > 0.94


@pytest.mark.parametrize("medium", MEDIA)
def test_short_ways_change_nothing(medium: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = MEDIA[medium](load_lines(NAMES[1]))
    expected = normalise_sketch(sheet)
    # Of one pixel it fits anywhere, and lightens nothing: the long way is gone.
    monkeypatch.setattr("postprocess.sketch._inner", lambda _reach: np.ones((1, 1), np.uint8))
    assert np.array_equal(normalise_sketch(sheet), expected)


def test_where_and_how_large_it_was_drawn_does_not_matter() -> None:
    lines = load_lines(NAMES[0])
    expected = normalise_sketch(lines)
    sheet = np.full((700, 1100), 255, np.uint8)
    sheet[400:656, 40:296] = cv2.resize(lines, (256, 256), interpolation=cv2.INTER_AREA)
    assert agreement(normalise_sketch(sheet), expected) > 0.95
    large = cv2.resize(lines, (2500, 2500), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    assert agreement(normalise_sketch(large), expected) > 0.95


def test_a_fine_pen_on_a_large_sheet_is_not_lost() -> None:
    sheet = np.full((3000, 2000, 3), 255, np.uint8)
    cv2.circle(sheet, (1000, 1500), 800, (20, 20, 90), 3, cv2.LINE_AA)
    found = normalise_sketch(sheet)
    ring = np.full((256, 256), 255, np.uint8)
    cv2.circle(ring, (128, 128), round(0.85 * 128) - 1, 0, 1)
    assert agreement(found, ring, 2) == 1


@pytest.mark.parametrize("extent", [0.3, 0.85, 1.0])
def test_it_is_centred_and_takes_the_extent(extent: float) -> None:
    drawing = normalise_sketch(load_lines(NAMES[1]), extent=extent)
    assert drawing_extent(drawing) == pytest.approx(extent, abs=0.04)
    rows, columns = (np.flatnonzero((drawing == 0).any(axis)) for axis in (1, 0))
    for places in (rows, columns):
        assert abs((places[0] + places[-1]) / 2 - 127.5) < 4
    assert drawing_extent(np.full((256, 256), 255, np.uint8)) == 0


def test_a_filled_area_becomes_its_outline() -> None:
    sheet = np.full((512, 512), 255, np.uint8)
    cv2.circle(sheet, (256, 256), 150, 0, -1)
    drawing = normalise_sketch(sheet)
    assert (drawing[100:156, 100:156] == 255).all(), "it is still filled, or has a skeleton"
    ring = np.full((256, 256), 255, np.uint8)
    cv2.circle(ring, (128, 128), round(0.85 * 128) - 1, 0, 1)
    assert agreement(drawing, ring, 2) > 0.98


@pytest.mark.parametrize(
    "sheet",
    [
        np.full((300, 400), 255, np.uint8),
        np.full((300, 400, 3), (240, 225, 190), np.uint8),
        np.zeros((300, 400, 4), np.uint8),
        np.zeros((300, 400), np.uint8),
        np.tile(np.linspace(90, 250, 400).astype(np.uint8), (300, 1)),
        pencil(np.full((300, 400), 255, np.uint8)),
        np.full((1, 1), 7, np.uint8),
    ],
    ids=["white", "paper", "transparent", "black", "shade", "grain", "a pixel"],
)
def test_an_empty_sheet_gives_an_empty_drawing(sheet: Array) -> None:
    assert (normalise_sketch(sheet) == 255).all()


def test_what_is_normal_stays_as_it_is() -> None:
    once = normalise_sketch(load_lines(NAMES[2]))
    assert agreement(normalise_sketch(once), once, 4) > 0.97


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)),
        hnp.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30), st.just(3))),
        hnp.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30), st.just(4))),
    ),
    st.integers(8, 96),
)
def test_anything_gives_thin_black_lines_on_white(sketch: Array, size: int) -> None:
    drawing = normalise_sketch(sketch, size)
    assert drawing.shape == (size, size)
    assert set(np.unique(drawing)) <= {0, 255}
    lines = drawing == 0
    assert (thin(lines) == lines).all()


@pytest.mark.parametrize(
    "sketch",
    [
        np.zeros((5, 5), np.float32),
        np.zeros((5, 5, 2), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((0, 5), np.uint8),
    ],
)
def test_what_is_no_sketch_is_told(sketch: Array) -> None:
    with pytest.raises(InputError, match="A sketch is uint8"):
        normalise_sketch(sketch)


@pytest.mark.parametrize("extent", [0, 1.1, float("nan")])
def test_an_extent_that_is_no_share_is_told(extent: float) -> None:
    with pytest.raises(InputError, match="extent"):
        normalise_sketch(np.zeros((5, 5), np.uint8), extent=extent)
