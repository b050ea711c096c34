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


def test_strokes_are_drawn_thin_where_they_are() -> None:
    found = render_strokes(parse_changed(), None)
    rows, columns = np.nonzero(found == 0)
    scale = 256 / 800
    assert columns.min() == pytest.approx(200 * scale, abs=1)
    assert columns.max() == pytest.approx(600 * scale, abs=1)
    # The canvas is wider than high, and in the middle.
    assert rows.min() == pytest.approx(100 * scale + 32, abs=1)
    assert rows.max() == pytest.approx(500 * scale + 32, abs=1)
    # A wall is one pixel wide.
    assert (found[160] == 0).sum() in (2, 3, 4)


def test_normalised_they_take_their_extent_in_the_middle() -> None:
    found = render_strokes(parse_changed(), 0.75)
    rows, columns = np.nonzero(found == 0)
    assert compute_extent(found) == pytest.approx(0.75, abs=0.01)
    assert rows.min() + rows.max() == pytest.approx(255, abs=1)
    assert columns.min() + columns.max() == pytest.approx(255, abs=1)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.2, 5), st.floats(-100, 100), st.floats(-100, 100))
def test_normalised_it_does_not_matter_where_and_how_large(
    scale: float, right: float, down: float
) -> None:
    strokes = [
        {"points": [[x * scale + right, y * scale + down] for x, y in stroke["points"]]}
        for stroke in HOUSE_DRAWING["strokes"]  # type: ignore[attr-defined]
    ]
    moved = render_strokes(parse_changed(width=1600, height=1600, strokes=strokes), 0.8)
    assert compare_drawings(moved, render_strokes(parse_changed(), 0.8), 1).f1 > 0.99


def test_what_leaves_the_canvas_is_cut_off() -> None:
    strokes = [{"points": [[-16_000, 300], [30_000, 300]]}]
    found = render_strokes(parse_changed(strokes=strokes), None)
    assert np.array_equal(np.unique(np.nonzero(found == 0)[0]), [127]) or (found == 0).sum() == 256


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.floats(-16_384, 32_768), st.floats(-16_384, 32_768)), min_size=1),
        max_size=8,
    ),
    st.one_of(st.none(), st.floats(0.01, 1)),
)
def test_any_strokes_give_a_drawing(
    strokes: list[list[tuple[float, float]]], extent: float | None
) -> None:
    drawn = parse_changed(strokes=[{"points": points} for points in strokes])
    found = render_strokes(drawn, extent)
    assert found.shape == (256, 256)
    assert set(np.unique(found)) <= {0, 255}


def test_a_line_and_a_touch() -> None:
    line = render_strokes(parse_changed(strokes=[{"points": [[100, 300], [140, 300]]}]), 0.8)
    assert (line == 0).sum() == pytest.approx(0.8 * 256, abs=2)
    for touch in ([[5, 5]], [[5, 5], [6, 6]]):
        assert (render_strokes(parse_changed(strokes=[{"points": touch}]), 0.8) == 255).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"width": 5}, "width: "),
        ({"height": "tall"}, "height: "),
        ({"strokes": [{"points": []}]}, r"strokes\.0\.points: "),
        ({"strokes": [{"points": [[1]]}]}, r"strokes\.0\.points\.0: "),
        ({"strokes": [{"points": [[1, 2, 3]]}]}, r"strokes\.0\.points\.0: "),
        ({"strokes": [{"points": [[1, 2]], "colour": "red"}]}, r"strokes\.0\.colour: "),
        ({"strokes": [{"points": [[1, 99_999]]}]}, r"strokes\.0\.points\.0\.1: "),
    ],
)
def test_what_does_not_fit_is_told(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ApiError, match=says) as refused:
        parse_changed(**changes)
    assert refused.value.code == "invalid"


EMPTY = ",".join(['{"points": [[],[]]}'] * 100_000)
NUMBERS = ",".join(["0"] * 400_000)
KEYS = ",".join(f'"{number}": 0' for number in range(200_000))


@pytest.mark.parametrize(
    "many",
    [
        '{"strokes": [' + EMPTY + "]}",
        '{"strokes": [{"points": [' + NUMBERS + "]}]}",
        "{" + KEYS + "}",
    ],
    ids=["empty points", "numbers for points", "other keys"],
)
def test_what_would_be_a_million_errors_is_not_read(
    many: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Strokes, "model_validate_json", None)
    with pytest.raises(ApiError) as refused:
        parse_strokes(many.encode())
    assert refused.value.code == "too_large"


def test_the_most_strokes_and_points_are_read() -> None:
    one = {"points": [[1.5, 2.5]] * 25}
    assert len(parse_changed(strokes=[one] * 2_000).strokes) == 2_000
