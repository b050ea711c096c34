import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postprocess import compare_drawings, compute_extent
from serving.errors import ApiError
from serving.strokes import Strokes, parse_strokes, render_strokes

HOUSE_DRAWING = {
    "width": 800,
    "height": 600,
    "strokes": [
        {"points": [[200, 500], [200, 250], [400, 100], [600, 250], [600, 500], [200, 500]]},
        {"points": [[350.5, 500], [350.5, 350], [450, 350], [450, 500]]},
    ],
}


def parse_changed(**changes: object) -> Strokes:
    return parse_strokes(json.dumps({**HOUSE_DRAWING, **changes}).encode())


def test_lines_are_thin_and_in_place() -> None:
    image = render_strokes(parse_changed(), None)
    rows, columns = np.nonzero(image == 0)
    scale = 256 / 800
    assert columns.min() == pytest.approx(200 * scale, abs=1)
    assert columns.max() == pytest.approx(600 * scale, abs=1)
    # The canvas is wider than high, and is centered vertically.
    assert rows.min() == pytest.approx(100 * scale + 32, abs=1)
    assert rows.max() == pytest.approx(500 * scale + 32, abs=1)
    # A wall is stroke pixel wide.
    assert (image[160] == 0).sum() in (2, 3, 4)


def test_normalized_drawing_has_the_extent_and_is_centered() -> None:
    image = render_strokes(parse_changed(), 0.75)
    rows, columns = np.nonzero(image == 0)
    assert compute_extent(image) == pytest.approx(0.75, abs=0.01)
    assert rows.min() + rows.max() == pytest.approx(255, abs=1)
    assert columns.min() + columns.max() == pytest.approx(255, abs=1)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.2, 5), st.floats(-100, 100), st.floats(-100, 100))
def test_normalization_ignores_position_and_scale(scale: float, right: float, down: float) -> None:
    strokes = [
        {"points": [[x * scale + right, y * scale + down] for x, y in stroke["points"]]}
        for stroke in HOUSE_DRAWING["strokes"]  # type: ignore[attr-defined]
    ]
    moved = render_strokes(parse_changed(width=1600, height=1600, strokes=strokes), 0.8)
    assert compare_drawings(moved, render_strokes(parse_changed(), 0.8), 1).f1 > 0.99


def test_lines_outside_the_canvas_are_clipped() -> None:
    strokes = [{"points": [[-16_000, 300], [30_000, 300]]}]
    image = render_strokes(parse_changed(strokes=strokes), None)
    assert np.array_equal(np.unique(np.nonzero(image == 0)[0]), [127]) or (image == 0).sum() == 256


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.floats(-16_384, 32_768), st.floats(-16_384, 32_768)), min_size=1),
        max_size=8,
    ),
    st.one_of(st.none(), st.floats(0.01, 1)),
)
def test_any_strokes_return_a_drawing(
    strokes: list[list[tuple[float, float]]], extent: float | None
) -> None:
    strokes_model = parse_changed(strokes=[{"points": points} for points in strokes])
    image = render_strokes(strokes_model, extent)
    assert image.shape == (256, 256)
    assert set(np.unique(image)) <= {0, 255}


def test_short_line_is_rendered_and_touch_is_ignored() -> None:
    line = render_strokes(parse_changed(strokes=[{"points": [[100, 300], [140, 300]]}]), 0.8)
    assert (line == 0).sum() == pytest.approx(0.8 * 256, abs=2)
    for touch in ([[5, 5]], [[5, 5], [6, 6]]):
        assert (render_strokes(parse_changed(strokes=[{"points": touch}]), 0.8) == 255).all()


@pytest.mark.parametrize(
    ("changes", "pattern"),
    [
        ({"width": 5}, "width: "),
        ({"height": "tall"}, "height: "),
        ({"strokes": [{"points": []}]}, r"strokes\.0\.points: "),
        ({"strokes": [{"points": [[1]]}]}, r"strokes\.0\.points\.0: "),
        ({"strokes": [{"points": [[1, 2, 3]]}]}, r"strokes\.0\.points\.0: "),
        ({"strokes": [{"points": [[1, 2]], "color": "red"}]}, r"strokes\.0\.color: "),
        ({"strokes": [{"points": [[1, 99_999]]}]}, r"strokes\.0\.points\.0\.1: "),
    ],
)
def test_invalid_value_names_its_location(changes: dict[str, object], pattern: str) -> None:
    with pytest.raises(ApiError, match=pattern) as error:
        parse_changed(**changes)
    assert error.value.code == "invalid"


EMPTY_POINTS = ",".join(['{"points": [[],[]]}'] * 100_000)
NUMBERS = ",".join(["0"] * 400_000)
KEYS = ",".join(f'"{number}": 0' for number in range(200_000))


@pytest.mark.parametrize(
    "body",
    [
        '{"strokes": [' + EMPTY_POINTS + "]}",
        '{"strokes": [{"points": [' + NUMBERS + "]}]}",
        "{" + KEYS + "}",
    ],
    ids=["empty points", "numbers for points", "other keys"],
)
def test_too_many_commas_are_rejected_before_parsing(
    body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Strokes, "model_validate_json", None)
    with pytest.raises(ApiError) as error:
        parse_strokes(body.encode())
    assert error.value.code == "too_large"


def test_largest_number_of_strokes_and_points_is_accepted() -> None:
    stroke = {"points": [[1.5, 2.5]] * 25}
    assert len(parse_changed(strokes=[stroke] * 2_000).strokes) == 2_000
