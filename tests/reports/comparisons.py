"""A comparison as ``model.evaluation.compare`` returns it, with plain pictures."""

import numpy as np

from model.evaluation.comparison import (
    LINES_BASELINE,
    SKETCHES,
    TARGETS_BASELINE,
    VALIDATION,
    CheckpointComparison,
    CheckpointResult,
    SketchRow,
)
from model.evaluation.metrics import Estimate
from postprocess import encode_jpeg

CHECKPOINT_COLORS = {
    "aaaa11112222/3": (200, 40, 40),
    "aaaa11112222/7": (40, 200, 40),
    "bbbb/1": (40, 40, 200),
}
PRODUCTION = "aaaa11112222/7"


def encode_plain(*color: int) -> bytes:
    return encode_jpeg(np.full((256, 256, 3), color, np.uint8), quality=90, subsampling="4:4:4")


def make_comparison(sketches: int = 3) -> CheckpointComparison:
    """Return a comparison with plain pictures, in the colors of ``CHECKPOINT_COLORS``."""
    metrics = {
        VALIDATION: {
            "l1": Estimate(0.1234, 0.1, 0.15, 8),
            "kid_efflite0": Estimate(0.2, 0.1, 0.3, 8),
        },
        SKETCHES: {
            "edge_f1": Estimate(0.5, 0.4, 0.6, sketches),
            "near_white": Estimate(0.25, None, None, 2),
        },
    }
    rows = tuple(
        SketchRow(
            f"line/{number}.png",
            encode_plain(220, 220, 220),
            encode_plain(255, 255, 255),
            encode_plain(9, 9, 9),
            "t.png",
        )
        for number in range(sketches)
    )
    results = tuple(
        CheckpointResult(name, metrics, (encode_plain(*color),) * sketches, name == PRODUCTION)
        for name, color in CHECKPOINT_COLORS.items()
    )
    baselines = (
        CheckpointResult(LINES_BASELINE, metrics),
        CheckpointResult(TARGETS_BASELINE, {VALIDATION: metrics[VALIDATION]}),
    )
    counts = {VALIDATION: 8, SKETCHES: sketches}
    notes = ("Left out, because they are empty: <empty>.png.",)
    return CheckpointComparison(rows, results, baselines, counts, 54, notes)
