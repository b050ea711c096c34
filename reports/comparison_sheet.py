"""The comparison sheet: drawings in rows, checkpoints in columns, with names and metrics."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model.evaluation.comparison import CheckpointComparison, CheckpointResult
from model.evaluation.metrics import METRICS
from postprocess import PAIR_SIZE, encode_jpeg, make_contact_sheet
from reports.comparison_table import METRICS_WARNING

_HEADER_HEIGHT, _LINE_HEIGHT, _GAP = 84, 19, 4
_TEXT_COLOR, _BACKGROUND = (20, 20, 20), (224, 224, 224)

# The first two that are available are written below each checkpoint's name.
_HEADER_METRICS = ("edge_f1", "kid_efflite0", "colour_distance")


def render_comparison_sheet(comparison: CheckpointComparison) -> bytes:
    """Render the sheet of a comparison.

    Columns are: the original sketch; the generator's input, which is also the baseline of lines
    copied onto white; the displayed checkpoints; the nearest training picture.

    Parameters
    ----------
    comparison : CheckpointComparison

    Returns
    -------
    bytes
        JPEG.
    """
    shown = comparison.shown_results
    headers = [
        ["drawing"],
        [comparison.baselines[0].name, *_metric_lines(comparison, comparison.baselines[0])],
        *([*_name_lines(result), *_metric_lines(comparison, result)] for result in shown),
        ["nearest training picture", "by colors, at 32 px a side"],
    ]
    tiles = []
    for index, row in enumerate(comparison.rows):
        pictures = (result.tiles[index] for result in shown)
        tiles += [_decode_jpeg(jpeg) for jpeg in (row.drawing, row.lines, *pictures, row.nearest)]
    body = make_contact_sheet(tiles, len(headers))
    sheet = Image.new(
        "RGB", (body.shape[1], body.shape[0] + _HEADER_HEIGHT + _LINE_HEIGHT + 8), _BACKGROUND
    )
    sheet.paste(Image.fromarray(body), (0, _HEADER_HEIGHT))
    pen = ImageDraw.Draw(sheet)
    for index, lines in enumerate(headers):
        for number, line in enumerate(lines):
            position = (_GAP + index * (PAIR_SIZE + _GAP), 6 + number * _LINE_HEIGHT)
            pen.text(position, line, _TEXT_COLOR, _fit_font(line))
    pen.text(
        (_GAP, body.shape[0] + _HEADER_HEIGHT + 4), METRICS_WARNING, _TEXT_COLOR, _fit_font("", 14)
    )
    return encode_jpeg(np.asarray(sheet), quality=88)


def _name_lines(result: CheckpointResult) -> list[str]:
    return [result.name, "in production"] if result.promoted else [result.name]


def _metric_lines(comparison: CheckpointComparison, result: CheckpointResult) -> list[str]:
    estimates = result.metrics.get(comparison.shown_inputs, {})
    metrics = {metric.key: metric for metric in METRICS}
    return [
        f"{metrics[key].title} {estimates[key].value:.{metrics[key].decimals}f}"
        for key in _HEADER_METRICS
        if key in estimates
    ][:2]


def _decode_jpeg(jpeg: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None, "OpenCV failed to decode its own JPEG"
    return image[..., ::-1].astype(np.uint8, copy=False)


def _fit_font(line: str, size: int = 17) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the largest font up to ``size`` in which a line fits over its column."""
    while True:
        font = ImageFont.load_default(size)
        if size <= 9 or font.getlength(line) <= PAIR_SIZE:
            return font
        size -= 1
