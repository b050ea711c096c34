"""How what a file says is put into a message: one short line, whatever the file holds."""

from collections.abc import Sequence

_MOST_SIDES = 8
_LONGEST = 160


def write_shape(sides: Sequence[int | None]) -> str:
    """Return a shape as ``64×3×3×3``, with ? for what is not fixed."""
    written = ["?" if side is None else str(side) for side in sides[:_MOST_SIDES]]
    return "×".join(written + ["…"] * (len(sides) > _MOST_SIDES)) or "a single number"


def write_text(text: str | bytes) -> str:
    """Return a name or message without what does not print, cut to a line's length."""
    line = text.decode(errors="replace") if isinstance(text, bytes) else text
    line = "".join(c if c.isprintable() else " " for c in line[: 2 * _LONGEST])
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
