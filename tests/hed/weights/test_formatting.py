import pytest

from hed.weights.formatting import write_shape, write_text


def test_shapes_are_short_whatever_is_declared() -> None:
    assert write_shape((64, 3, 3, 3)) == "64×3×3×3"
    assert write_shape((None, 3)) == "?×3"
    assert write_shape(()) == "a single number"
    assert write_shape([2] * 1_000_000) == "2×2×2×2×2×2×2×2×…"


@pytest.mark.parametrize(
    "text", ["two\nlines", b"two\r\nlines", "two\u2028lines", "two \x00 lines"]
)
def test_text_stays_on_its_line(text: str | bytes) -> None:
    assert write_text(text) == "two lines"


def test_text_is_cut() -> None:
    assert write_text(b"\xff" * 1000) == "\ufffd" * 160 + "…"
    assert write_text("\x1b[31m") == "[31m"
