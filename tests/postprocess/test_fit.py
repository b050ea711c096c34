import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postprocess import centre, fit_picture
from postprocess.fit import FitMode

RED, BLUE = (255, 0, 0), (0, 0, 255)


def striped(height: int, width: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Red, with a blue band on either end of the longer side."""
    picture = np.full((height, width, 3), RED, np.uint8)
    band = max(height, width) // 4
    if width > height:
        picture[:, :band] = picture[:, -band:] = BLUE
    else:
        picture[:band] = picture[-band:] = BLUE
    return picture


def test_cover_crops_the_ends() -> None:
    assert (fit_picture(striped(50, 200), 64, "cover")[:, 2:-2] == RED).all()
    assert (fit_picture(striped(200, 50), 64, "cover")[2:-2] == RED).all()


def test_contain_shows_all_on_the_background() -> None:
    inner = fit_picture(striped(50, 200), 64, "contain")
    assert inner.shape == (16, 64, 3)
    fitted = centre(inner, 64, (9, 8, 7))
    assert (fitted[:24] == (9, 8, 7)).all()
    assert (fitted[-24:] == (9, 8, 7)).all()
    assert (fitted[32, 4] == BLUE).all()
    assert (fitted[32, 32] == RED).all()


def test_stretch_shows_all_without_background() -> None:
    fitted = fit_picture(striped(50, 200), 64, "stretch")
    assert (fitted[:, :12] == BLUE).all()
    assert (fitted[:, 24:40] == RED).all()


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["cover", "contain", "stretch"]))
@settings(max_examples=60, deadline=None)
def test_a_plain_picture_stays_plain(height: int, width: int, mode: FitMode) -> None:
    plain = np.full((height, width, 3), (10, 200, 90), np.uint8)
    square = centre(fit_picture(plain, 32, mode), 32, (10, 200, 90))
    assert square.shape == (32, 32, 3)
    assert (square == (10, 200, 90)).all()


def test_a_drawing_is_centred_too() -> None:
    drawing = np.zeros((10, 4), np.uint8)
    square = centre(drawing, 10, 255)
    assert (square[:, 3:7] == 0).all()
    assert (np.delete(square, range(3, 7), axis=1) == 255).all()


@pytest.mark.parametrize("mode", ["cover", "contain", "stretch"])
def test_a_picture_of_the_right_size_is_left_alone(mode: FitMode) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert (fit_picture(picture, 64, mode) == picture).all()
