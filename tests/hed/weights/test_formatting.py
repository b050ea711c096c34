import pytest

from hed.weights.formatting import format_shape, format_text


def test_long_shapes_are_truncated() -> None:
    assert format_shape((64, 3, 3, 3)) == "64×3×3×3"
    assert format_shape((None, 3)) == "?×3"
    assert format_shape(()) == "a single number"
    assert format_shape([2] * 1_000_000) == "2×2×2×2×2×2×2×2×…"


@pytest.mark.parametrize(
    "text", ["two\nlines", b"two\r\nlines", "two\u2028lines", "two \x00 lines"]
)
def test_text_is_formatted_as_one_line(text: str | bytes) -> None:
    assert format_text(text) == "two lines"


def test_long_text_is_truncated() -> None:
    assert format_text(b"\xff" * 1000) == "\ufffd" * 160 + "…"
    assert format_text("\x1b[31m") == "[31m"
