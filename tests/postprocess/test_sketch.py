import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from config.errors import InputError
from postprocess import compare_drawings, compute_extent, normalize_sketch
from postprocess.thin import thin
from tests.postprocess.sketches import DRAWING_MEDIA, Array, load_lines, pencil

NAMES = ("1F32D.png", "1F402.png", "1F42D.png")


def line_f1(one: Array, two: Array, tolerance: int = 3) -> float:
    return compare_drawings(one, two, tolerance).f1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("medium", DRAWING_MEDIA)
def test_lines_do_not_depend_on_medium(name: str, medium: str) -> None:
    lines = load_lines(name)
    expected = normalize_sketch(lines)
    assert 0.005 < (expected == 0).mean() < 0.1
    assert line_f1(normalize_sketch(DRAWING_MEDIA[medium](lines)), expected) > 0.94


@pytest.mark.parametrize("medium", DRAWING_MEDIA)
def test_shortcuts_do_not_affect_result(medium: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = DRAWING_MEDIA[medium](load_lines(NAMES[1]))
    expected = normalize_sketch(sheet)
    # A square of one pixel disables the shortcuts.
    monkeypatch.setattr(
        "postprocess.sketch._inscribed_square", lambda _size: np.ones((1, 1), np.uint8)
    )
    assert np.array_equal(normalize_sketch(sheet), expected)


def test_position_and_size_do_not_affect_result() -> None:
    lines = load_lines(NAMES[0])
    expected = normalize_sketch(lines)
    sheet = np.full((700, 1100), 255, np.uint8)
    sheet[400:656, 40:296] = cv2.resize(lines, (256, 256), interpolation=cv2.INTER_AREA)
    assert line_f1(normalize_sketch(sheet), expected) > 0.95
    large = cv2.resize(lines, (2500, 2500), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    assert line_f1(normalize_sketch(large), expected) > 0.95


def test_fine_lines_on_large_sheet_are_kept() -> None:
    sheet = np.full((3000, 2000, 3), 255, np.uint8)
    cv2.circle(sheet, (1000, 1500), 800, (20, 20, 90), 3, cv2.LINE_AA)
    drawing = normalize_sketch(sheet)
    ring = np.full((256, 256), 255, np.uint8)
    cv2.circle(ring, (128, 128), round(0.85 * 128) - 1, 0, 1)
    assert line_f1(drawing, ring, 2) == 1


@pytest.mark.parametrize("extent", [0.3, 0.85, 1.0])
def test_drawing_is_centered_and_has_extent(extent: float) -> None:
    drawing = normalize_sketch(load_lines(NAMES[1]), extent=extent)
    assert compute_extent(drawing) == pytest.approx(extent, abs=0.04)
    rows, columns = (np.flatnonzero((drawing == 0).any(axis)) for axis in (1, 0))
    for indices in (rows, columns):
        assert abs((indices[0] + indices[-1]) / 2 - 127.5) < 4
    assert compute_extent(np.full((256, 256), 255, np.uint8)) == 0


def test_filled_area_becomes_outline() -> None:
    sheet = np.full((512, 512), 255, np.uint8)
    cv2.circle(sheet, (256, 256), 150, 0, -1)
    drawing = normalize_sketch(sheet)
    assert (drawing[100:156, 100:156] == 255).all(), (
        "the area is still filled, or was thinned to a skeleton"
    )
    ring = np.full((256, 256), 255, np.uint8)
    cv2.circle(ring, (128, 128), round(0.85 * 128) - 1, 0, 1)
    assert line_f1(drawing, ring, 2) > 0.98


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
def test_empty_sheet_gives_empty_drawing(sheet: Array) -> None:
    assert (normalize_sketch(sheet) == 255).all()


def test_normalization_is_nearly_idempotent() -> None:
    once = normalize_sketch(load_lines(NAMES[2]))
    assert line_f1(normalize_sketch(once), once, 4) > 0.97


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)),
        hnp.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30), st.just(3))),
        hnp.arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30), st.just(4))),
    ),
    st.integers(8, 96),
)
def test_any_image_gives_thin_binary_drawing(sketch: Array, size: int) -> None:
    drawing = normalize_sketch(sketch, size)
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
def test_invalid_sketch_raises_input_error(sketch: Array) -> None:
    with pytest.raises(InputError, match="A sketch must be uint8"):
        normalize_sketch(sketch)


@pytest.mark.parametrize("extent", [0, 1.1, float("nan")])
def test_invalid_extent_raises_input_error(extent: float) -> None:
    with pytest.raises(InputError, match="extent"):
        normalize_sketch(np.zeros((5, 5), np.uint8), extent=extent)
