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


def decode(body: bytes, content_type: str, *, normalize: bool = False, side: int = 256) -> Image8:
    content_type = content_type.partition(";")[0].lower()
    return decode_drawing(
        body, content_type, normalize=normalize, extent=EXTENT, side=side, max_pixels=16_000_000
    )


@pytest.mark.parametrize("name", VALID_BODIES)
def test_all_formats_decode_to_the_same_drawing(name: str) -> None:
    content_type, body = VALID_BODIES[name]
    drawing = decode(body, content_type)
    assert drawing.shape == (256, 256)
    # JPEG adds ringing around lines, and a palette dithers.
    agreement = compare_drawings(
        np.where(drawing < 128, 0, 255).astype(np.uint8), draw_outline(3), 1
    )
    assert agreement.f1 > 0.98


def test_drawing_is_unchanged_without_normalization() -> None:
    drawing = draw_outline(5)
    assert np.array_equal(decode(encode_png(drawing), "image/png"), drawing)


def test_normalization_matches_the_training_samples() -> None:
    drawing = draw_outline(5, 700)[:, 50:600]
    result = decode(encode_png(drawing), "image/png", normalize=True, side=64)
    assert np.array_equal(result, prepare_sketch(drawing, EXTENT, 64))


def test_rectangular_sheet_keeps_its_aspect_ratio() -> None:
    sheet = np.full((100, 400), 255, np.uint8)
    sheet[20:80, 190:210] = 0
    result = decode(encode_png(sheet), "image/png")
    rows, columns = np.nonzero(result < 128)
    assert np.ptp(rows) == pytest.approx(60 * 256 / 400, abs=2)
    assert np.ptp(columns) == pytest.approx(20 * 256 / 400, abs=2)
    assert rows.mean() == pytest.approx(127.5, abs=1)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(
    "name", [name for name in INVALID_BODIES if INVALID_BODIES[name][0] in CONTENT_TYPES]
)
def test_invalid_body_raises_its_error(name: str, normalize: bool) -> None:
    content_type, body, _, code = INVALID_BODIES[name]
    if name == "too many bytes":
        pytest.skip("the limit of bytes is checked when the body is read")
    if name == "single pixel" and not normalize:
        pytest.skip("without normalization it is a black sheet")
    with pytest.raises(ApiError) as error:
        decode(body, content_type, normalize=normalize)
    assert error.value.code == code


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_file_returns_a_drawing_or_raises_api_error(data: st.DataObject) -> None:
    content_type, body = data.draw(
        st.sampled_from([VALID_BODIES["png"], VALID_BODIES["jpeg"], VALID_BODIES["webp"]])
    )
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        code, shape = None, decode(bytes(damaged), content_type, normalize=True).shape
    except ApiError as error:
        code, shape = error.code, None
    assert shape == (256, 256) or code in ("unreadable", "wrong_type", "too_large", "empty")


def test_normalized_drawing_has_the_requested_extent() -> None:
    sheet = np.full((900, 900), 255, np.uint8)
    sheet[100:300, 100:104] = 0
    sheet[300:304, 100:200] = 0
    result = decode(encode_png(sheet), "image/png", normalize=True)
    assert compute_extent(result) == pytest.approx(EXTENT, abs=0.02)


@pytest.mark.parametrize("normalize", [True, False])
def test_strokes_and_their_picture_decode_to_the_same_drawing(normalize: bool) -> None:
    points = [[200, 500], [200, 200], [600, 200], [600, 500], [200, 500], [600, 200]]
    strokes = {"width": 800, "height": 700, "strokes": [{"points": points}]}
    sheet = np.full((700, 800), 255, np.uint8)
    cv2.polylines(sheet, [np.array(points, np.int32)], False, 0, 9)
    from_strokes = decode(json.dumps(strokes).encode(), "application/json", normalize=normalize)
    from_picture = decode(encode_png(sheet), "image/png", normalize=normalize)
    if not normalize:
        # Without normalization a thick line stays thick.
        assert (from_picture < 128).sum() > 2 * (from_strokes < 128).sum()
        return
    # The extents of a thick line and of its center line differ.
    agreement = compare_drawings(from_strokes, from_picture, 4)
    assert agreement.f1 > 0.97
