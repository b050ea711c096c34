import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postprocess import downscale_edges, edge_resolution, fit_picture, pad_to_square
from postprocess.fit import FitMode

RED, BLUE = (255, 0, 0), (0, 0, 255)


def draw_striped(height: int, width: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Return a red picture with a blue band at either end of the longer side."""
    picture = np.full((height, width, 3), RED, np.uint8)
    band = max(height, width) // 4
    if width > height:
        picture[:, :band] = picture[:, -band:] = BLUE
    else:
        picture[:band] = picture[-band:] = BLUE
    return picture


def test_cover_crops_longer_side() -> None:
    assert (fit_picture(draw_striped(50, 200), 64, "cover")[:, 2:-2] == RED).all()
    assert (fit_picture(draw_striped(200, 50), 64, "cover")[2:-2] == RED).all()


def test_contain_keeps_whole_picture_on_background() -> None:
    inner = fit_picture(draw_striped(50, 200), 64, "contain")
    assert inner.shape == (16, 64, 3)
    fitted = pad_to_square(inner, 64, (9, 8, 7))
    assert (fitted[:24] == (9, 8, 7)).all()
    assert (fitted[-24:] == (9, 8, 7)).all()
    assert (fitted[32, 4] == BLUE).all()
    assert (fitted[32, 32] == RED).all()


def test_stretch_keeps_whole_picture_without_background() -> None:
    fitted = fit_picture(draw_striped(50, 200), 64, "stretch")
    assert (fitted[:, :12] == BLUE).all()
    assert (fitted[:, 24:40] == RED).all()


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["cover", "contain", "stretch"]))
@settings(max_examples=60, deadline=None)
def test_plain_picture_stays_plain(height: int, width: int, mode: FitMode) -> None:
    plain = np.full((height, width, 3), (10, 200, 90), np.uint8)
    square = pad_to_square(fit_picture(plain, 32, mode), 32, (10, 200, 90))
    assert square.shape == (32, 32, 3)
    assert (square == (10, 200, 90)).all()


def test_drawing_is_centered() -> None:
    drawing = np.zeros((10, 4), np.uint8)
    square = pad_to_square(drawing, 10, 255)
    assert (square[:, 3:7] == 0).all()
    assert (np.delete(square, range(3, 7), axis=1) == 255).all()


@pytest.mark.parametrize("mode", ["cover", "contain", "stretch"])
def test_picture_of_right_size_is_unchanged(mode: FitMode) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert (fit_picture(picture, 64, mode) == picture).all()


def test_nearest_upscaling_keeps_hard_pixels() -> None:
    sprite = np.zeros((2, 2, 3), np.uint8)
    sprite[0, 0] = RED
    hard, soft = (fit_picture(sprite, 64, "cover", upscale) for upscale in ("nearest", "bicubic"))
    assert {tuple(color) for color in hard.reshape(-1, 3)} == {RED, (0, 0, 0)}
    assert (hard[:32, :32] == RED).all()
    assert len(np.unique(soft)) > 20
    # Only for scaling up: nearest-neighbor downscaling breaks lines.
    striped_down = fit_picture(draw_striped(50, 200)[:, ::2], 20, "cover", "nearest")
    assert (striped_down == fit_picture(draw_striped(50, 200)[:, ::2], 20, "cover")).all()


@pytest.mark.parametrize(
    ("height", "width", "mode", "max_scale", "side"),
    [
        (600, 1024, "cover", 1, 256),
        (600, 1024, "cover", 2, 512),
        (600, 1024, "cover", 4, 512),
        (600, 1024, "contain", 4, 1024),
        (100, 200, "cover", 4, 256),
    ],
)
def test_edge_resolution_is_limited_by_picture(
    height: int, width: int, mode: FitMode, max_scale: int, side: int
) -> None:
    assert edge_resolution(height, width, 256, mode, max_scale) == side


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
def test_downscaled_map_is_area_average(height: int, width: int, times: int) -> None:
    edges = np.random.default_rng(height).random((height * times, width * times), np.float32)
    reduced = downscale_edges(edges, height, width)
    assert reduced.shape == (height, width)
    assert reduced.dtype == np.float32
    means = edges.reshape(height, times, width, times).mean((1, 3))
    np.testing.assert_allclose(reduced, means, atol=1e-5)
    assert downscale_edges(np.ones((9, 7), np.float32), 4, 3).max() <= 1
