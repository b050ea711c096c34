import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.training.samples import prepare_sketch
from postprocess import compare_drawings, compute_extent, encode_png
from serving.decode import CONTENT_TYPES, Image8, decode_drawing
from serving.errors import ApiError
from tests.serving.exports import draw_outline
from tests.serving.hostile import INVALID_BODIES, VALID_BODIES

EXTENT = 0.8


def decode(body: bytes, kind: str, *, normalise: bool = False, side: int = 256) -> Image8:
    kind = kind.partition(";")[0].lower()
    return decode_drawing(
        body, kind, normalize=normalise, extent=EXTENT, side=side, max_pixels=16_000_000
    )


@pytest.mark.parametrize("name", VALID_BODIES)
def test_every_kind_of_picture_is_the_same_drawing(name: str) -> None:
    kind, body = VALID_BODIES[name]
    found = decode(body, kind)
    assert found.shape == (256, 256)
    # JPEG rings around lines, and a palette dithers.
    agreed = compare_drawings(np.where(found < 128, 0, 255).astype(np.uint8), draw_outline(3), 1)
    assert agreed.f1 > 0.98


def test_a_drawing_as_it_is_passes_unchanged() -> None:
    drawing = draw_outline(5)
    assert np.array_equal(decode(encode_png(drawing), "image/png"), drawing)


def test_a_normalised_drawing_is_what_training_shows_beside_its_grid() -> None:
    drawing = draw_outline(5, 700)[:, 50:600]
    found = decode(encode_png(drawing), "image/png", normalise=True, side=64)
    assert np.array_equal(found, prepare_sketch(drawing, EXTENT, 64))


def test_a_sheet_that_is_no_square_keeps_its_shape() -> None:
    sheet = np.full((100, 400), 255, np.uint8)
    sheet[20:80, 190:210] = 0
    found = decode(encode_png(sheet), "image/png")
    rows, columns = np.nonzero(found < 128)
    assert np.ptp(rows) == pytest.approx(60 * 256 / 400, abs=2)
    assert np.ptp(columns) == pytest.approx(20 * 256 / 400, abs=2)
    assert rows.mean() == pytest.approx(127.5, abs=1)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("name", [name for name in INVALID_BODIES if INVALID_BODIES[name][0] in CONTENT_TYPES])
def test_what_is_no_drawing_is_refused(name: str, normalise: bool) -> None:
    kind, body, _, code = INVALID_BODIES[name]
    if name == "too many bytes":
        pytest.skip("of a request, not of a picture")
    if name == "a single pixel" and not normalise:
        pytest.skip("as it is it is a black sheet")
    with pytest.raises(ApiError) as refused:
        decode(body, kind, normalise=normalise)
    assert refused.value.code == code


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_bytes_give_a_drawing_or_a_refusal(data: st.DataObject) -> None:
    kind, body = data.draw(st.sampled_from([VALID_BODIES["png"], VALID_BODIES["jpeg"], VALID_BODIES["webp"]]))
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        code, shape = None, decode(bytes(damaged), kind, normalise=True).shape
    except ApiError as refused:
        code, shape = refused.code, None
    assert shape == (256, 256) or code in ("unreadable", "wrong_type", "too_large", "empty")


def test_what_is_normalised_takes_its_extent() -> None:
    sheet = np.full((900, 900), 255, np.uint8)
    sheet[100:300, 100:104] = 0
    sheet[300:304, 100:200] = 0
    found = decode(encode_png(sheet), "image/png", normalise=True)
    assert compute_extent(found) == pytest.approx(EXTENT, abs=0.02)


@pytest.mark.parametrize("normalise", [True, False])
def test_strokes_and_a_picture_of_them_are_the_same_drawing(normalise: bool) -> None:
    points = [[200, 500], [200, 200], [600, 200], [600, 500], [200, 500], [600, 200]]
    strokes = {"width": 800, "height": 700, "strokes": [{"points": points}]}
    sheet = np.full((700, 800), 255, np.uint8)
    cv2.polylines(sheet, [np.array(points, np.int32)], False, 0, 9)
    drawn = decode(json.dumps(strokes).encode(), "application/json", normalise=normalise)
    seen = decode(encode_png(sheet), "image/png", normalise=normalise)
    if not normalise:
        # As it is, a thick line stays one.
        assert (seen < 128).sum() > 2 * (drawn < 128).sum()
        return
    # The outlines of a pen and of its middle differ.
    agreed = compare_drawings(drawn, seen, 4)
    assert agreed.f1 > 0.97
