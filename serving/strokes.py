"""Strokes as JSON to a drawing of the width of the training drawings' lines."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from postprocess import PAIR_SIZE, Points, draw_strokes
from serving.errors import ApiError

_MAX_STROKES = 2_000
_MAX_POINTS = 50_000
# In the most that is taken: between two numbers, two points, two strokes, and the rest.
_MAX_COMMAS = 2 * _MAX_POINTS + 2 * _MAX_STROKES + 8
# Sides of a canvas, in pixels; what is drawn may leave it by as much as its side.
_MIN_SIDE, _MAX_SIDE = 16, 16_384
# What is smaller than this share of the canvas is a touch, no drawing.
_MIN_DRAWING_FRACTION = 0.02

Coordinate = Annotated[float, Field(ge=-_MAX_SIDE, le=2 * _MAX_SIDE, allow_inf_nan=False)]
CanvasSide = Annotated[float, Field(ge=_MIN_SIDE, le=_MAX_SIDE, allow_inf_nan=False)]


class Stroke(BaseModel):
    """One stroke, from where the pen came down to where it left.

    Attributes
    ----------
    points : x and y in pixels of the canvas, from its upper left corner.
    """

    model_config = ConfigDict(extra="forbid")

    points: Annotated[
        list[Annotated[list[Coordinate], Field(min_length=2, max_length=2)]],
        Field(min_length=1, max_length=_MAX_POINTS),
        FailFast(),
    ]


class Strokes(BaseModel):
    """A drawing as what the pen did.

    Attributes
    ----------
    width, height : of the canvas in pixels.
    strokes : what remains visible of them.
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
    """Return the strokes of a request's body.

    Raises
    ------
    Refusal
        ``invalid``, with what does not fit where; ``too_large`` for too many strokes or points.
    """
    # Each item, key and error of theirs takes many times its bytes, so they are counted before.
    if body.count(b",") > _MAX_COMMAS:
        raise ApiError("too_large", "There are too many strokes or points: send a picture.")
    try:
        drawing = Strokes.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        location = ".".join(str(part) for part in first["loc"])
        # Of these, two numbers a point are no matter of size.
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
    """Draw strokes as the training drawings are drawn.

    Parameters
    ----------
    drawn : the strokes.
    extent : share of the side that the longer side of what was drawn is to take, centred, as
        ``normalize_sketch`` has it; None for the canvas as it is, centred in a square.

    Returns
    -------
    ndarray
        uint8 PAIR_SIZE×PAIR_SIZE, 0 on lines of one pixel and 255 elsewhere; white all over where
        there is nothing to speak of.
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
        # A line of one pixel more than the way of its middle.
        center, scale = (low + high) / 2, max(1, round(extent * PAIR_SIZE) - 1) / longest
    target_center = (PAIR_SIZE - 1) / 2
    placed = [((stroke - center) * scale + target_center).astype(np.float32) for stroke in strokes]
    return draw_strokes(placed, PAIR_SIZE)
