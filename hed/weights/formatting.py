"""Formatting of file contents for error messages: one short line, whatever the file holds."""

from collections.abc import Sequence

_MAX_DIMS = 8
_MAX_LENGTH = 160


def format_shape(shape: Sequence[int | None]) -> str:
    """Return a shape such as ``64×3×3×3``, with ``?`` for dimensions that are not fixed.

    Parameters
    ----------
    shape : sequence of int or None
        None marks a dimension that is not fixed.

    Examples
    --------
    >>> format_shape((1, 3, None, None))
    '1×3×?×?'
    >>> format_shape(())
    'a single number'
    """
    dims = ["?" if side is None else str(side) for side in shape[:_MAX_DIMS]]
    return "×".join(dims + ["…"] * (len(shape) > _MAX_DIMS)) or "a single number"


def format_text(text: str | bytes) -> str:
    r"""Return a name or message without unprintable characters, truncated to 160 characters.

    Parameters
    ----------
    text : str or bytes
        Bytes are decoded as UTF-8; invalid ones are replaced.

    Examples
    --------
    >>> format_text(b"two\nlines")
    'two lines'
    """
    line = text.decode(errors="replace") if isinstance(text, bytes) else text
    line = "".join(c if c.isprintable() else " " for c in line[: 2 * _MAX_LENGTH])
    line = " ".join(line.split())
    return line if len(line) <= _MAX_LENGTH else f"{line[:_MAX_LENGTH]}…"
