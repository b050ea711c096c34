"""The sheet of a comparison: rows drawings, columns checkpoints, with their names and figures."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model.evaluation.comparison import Column, Comparison
from model.evaluation.metrics import METRICS
from postprocess import PAIR_SIZE, encode_jpeg, make_sheet
from reports.comparison_table import NO_METRIC_ALONE

_HEAD, _LINE, _GAP = 84, 19, 4
_INK, _PAPER = (20, 20, 20), (224, 224, 224)

# Under each checkpoint's name; the second where there are targets, or the extra is there.
_TOLD = ("edge_f1", "kid_efflite0", "colour_distance")


def draw_sheet(comparison: Comparison) -> bytes:
    """Return the sheet as JPEG.

    The first column is the drawing as it was made, the second what the generators are given, which
    is also lines copied onto white; then the checkpoints that are shown; the last is the nearest
    training picture.
    """
    shown = comparison.shown
    heads = [
        ["drawing"],
        [comparison.baselines[0].name, *_figures(comparison, comparison.baselines[0])],
        *([*_names(column), *_figures(comparison, column)] for column in shown),
        ["nearest training picture", "by colours, at 32 px a side"],
    ]
    tiles = []
    for at, row in enumerate(comparison.rows):
        made = (column.tiles[at] for column in shown)
        tiles += [_decode(jpeg) for jpeg in (row.drawing, row.lines, *made, row.nearest)]
    body = make_sheet(tiles, len(heads))
    sheet = Image.new("RGB", (body.shape[1], body.shape[0] + _HEAD + _LINE + 8), _PAPER)
    sheet.paste(Image.fromarray(body), (0, _HEAD))
    pen = ImageDraw.Draw(sheet)
    for at, lines in enumerate(heads):
        for number, line in enumerate(lines):
            place = (_GAP + at * (PAIR_SIZE + _GAP), 6 + number * _LINE)
            pen.text(place, line, _INK, _font(line))
    pen.text((_GAP, body.shape[0] + _HEAD + 4), NO_METRIC_ALONE, _INK, _font("", 14))
    return encode_jpeg(np.asarray(sheet), quality=88)


def _names(column: Column) -> list[str]:
    return [column.name, "in production"] if column.promoted else [column.name]


def _figures(comparison: Comparison, column: Column) -> list[str]:
    figures = column.figures.get(comparison.shown_are, {})
    titles = {metric.key: metric for metric in METRICS}
    return [
        f"{titles[key].title} {figures[key].value:.{titles[key].digits}f}"
        for key in _TOLD
        if key in figures
    ][:2]


def _decode(jpeg: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None, "we encoded it"
    return image[..., ::-1].astype(np.uint8, copy=False)


def _font(line: str, size: int = 17) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font in which a line fits over its column."""
    while True:
        font = ImageFont.load_default(size)
        if size <= 9 or font.getlength(line) <= PAIR_SIZE:
            return font
        size -= 1
