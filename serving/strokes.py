"""Parsing of strokes in JSON, and rendering them with the line width of the training drawings."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from postprocess import PAIR_SIZE, Points, draw_strokes
from serving.errors import ApiError

_MAX_STROKES = 2_000
_MAX_POINTS = 50_000
# Commas in the largest valid body: between numbers, points and strokes, and a few others.
_MAX_COMMAS = 2 * _MAX_POINTS + 2 * _MAX_STROKES + 8
# Sides of a canvas in pixels. Points may lie outside by up to the largest side.
_MIN_SIDE, _MAX_SIDE = 16, 16_384
# Drawings that are smaller than this fraction of the canvas are ignored, as accidental touches.
_MIN_DRAWING_FRACTION = 0.02

Coordinate = Annotated[float, Field(ge=-_MAX_SIDE, le=2 * _MAX_SIDE, allow_inf_nan=False)]
CanvasSide = Annotated[float, Field(ge=_MIN_SIDE, le=_MAX_SIDE, allow_inf_nan=False)]


class Stroke(BaseModel):
    """One stroke of the pen.

    Attributes
    ----------
    points : list of [float, float]
        x and y in pixels, from the canvas's upper left corner.
    """

    model_config = ConfigDict(extra="forbid")

    points: Annotated[
        list[Annotated[list[Coordinate], Field(min_length=2, max_length=2)]],
        Field(min_length=1, max_length=_MAX_POINTS),
        FailFast(),
    ]


class Strokes(BaseModel):
    """A drawing as strokes.

    Attributes
    ----------
    width, height : float
        Sides of the canvas in pixels, in [16, 16384].
    strokes : list of Stroke
        The visible strokes, at most 2000 with at most 50,000 points in all.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "width": 800,
                    "height": 600,
                    "strokes": [
                        {"points": [[200, 150], [600, 150], [600, 450], [200, 450], [200, 150]]},
                        {"points": [[300, 300], [400, 380], [500, 300]]},
                    ],
                }
            ]
        },
    )

    width: CanvasSide
    height: CanvasSide
    strokes: Annotated[list[Stroke], Field(max_length=_MAX_STROKES), FailFast()]


def parse_strokes(body: bytes) -> Strokes:
    """Parse and validate strokes.

    Parameters
    ----------
    body : bytes
        A JSON object; see ``Strokes``.

    Raises
    ------
    ApiError
        ``invalid``, with the location of the first error; ``too_large`` for too many strokes or
        points.
    """
    # Parsed items and validation errors take many times the memory of their bytes: count first.
    if body.count(b",") > _MAX_COMMAS:
        raise ApiError("too_large", "There are too many strokes or points: send a picture.")
    try:
        drawing = Strokes.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        location = ".".join(str(part) for part in first["loc"])
        # A point with more than two numbers is ``too_long`` as well, but it is invalid, not large.
        too_many = first["type"] == "too_long" and first["loc"][-1] in ("strokes", "points")
        code = "too_large" if too_many else "invalid"
        raise ApiError(code, f"{location or 'The body'}: {first['msg']}.") from None
    count = sum(len(stroke.points) for stroke in drawing.strokes)
    if count > _MAX_POINTS:
        raise ApiError(
            "too_large", f"There are {count:,} points: send at most {_MAX_POINTS:,}, or a picture."
        )
    return drawing


def render_strokes(drawing: Strokes, extent: float | None) -> NDArray[np.uint8]:
    """Render strokes with lines of one pixel, as in the training drawings.

    Parameters
    ----------
    drawing : Strokes
        The strokes.
    extent : float or None
        Fraction in (0, 1] of the side that the longer side of the drawing's bounding box takes,
        centered, as in ``normalize_sketch``; None to center the canvas in a square instead.

    Returns
    -------
    ndarray
        uint8 PAIR_SIZE×PAIR_SIZE, 0 on lines and 255 elsewhere; all 255 if the drawing is smaller
        than 2 % of the canvas.
    """
    strokes: list[Points] = [np.array(stroke.points, np.float32) for stroke in drawing.strokes]
    blank = np.full((PAIR_SIZE, PAIR_SIZE), 255, np.uint8)
    if not strokes:
        return blank
    canvas = np.array([drawing.width, drawing.height], np.float32)
    points = np.concatenate(strokes)
    low, high = points.min(0), points.max(0)
    longest = float((high - low).max())
    if longest < _MIN_DRAWING_FRACTION * float(canvas.max()):
        return blank
    if extent is None:
        center, scale = canvas / 2, PAIR_SIZE / float(canvas.max())
    else:
        # A line of n pixels spans n - 1 pixels between the centers of its ends.
        center, scale = (low + high) / 2, max(1, round(extent * PAIR_SIZE) - 1) / longest
    target_center = (PAIR_SIZE - 1) / 2
    placed = [((stroke - center) * scale + target_center).astype(np.float32) for stroke in strokes]
    return draw_strokes(placed, PAIR_SIZE)
