import io

import pandas as pd
import pytest
from PIL import Image

from model.evaluation.comparison import LINES_BASELINE, SKETCHES, TARGETS_BASELINE, VALIDATION
from model.evaluation.metrics import METRICS, Estimate
from reports.comparison_sheet import render_comparison_sheet
from reports.comparison_table import (
    METRICS_WARNING,
    comparison_to_frame,
    comparison_to_markdown,
    format_estimate,
)
from tests.reports.comparisons import CHECKPOINT_COLORS, PRODUCTION, make_comparison


def test_table_contains_all_metrics_with_intervals() -> None:
    frame = pd.read_csv(io.StringIO(comparison_to_frame(make_comparison()).to_csv(index=False)))
    assert set(frame["checkpoint"]) == {*CHECKPOINT_COLORS, LINES_BASELINE, TARGETS_BASELINE}
    one = frame[(frame["checkpoint"] == PRODUCTION) & (frame["metric"] == "l1")].iloc[0]
    assert (one["drawings"], one["value"], one["low"], one["high"]) == (
        VALIDATION,
        0.1234,
        0.1,
        0.15,
    )
    assert one["production"] and not frame[frame["checkpoint"] == "bbbb/1"]["production"].any()
    assert frame[frame["metric"] == "near_white"]["low"].isna().all()
    assert set(frame[frame["drawings"] == SKETCHES]["metric"]) == {"edge_f1", "near_white"}


def test_markdown_describes_metrics() -> None:
    markdown = comparison_to_markdown(make_comparison())
    assert f"| {PRODUCTION} (in production) | 0.123 ± 0.025 | 0.200 ± 0.100 |" in markdown
    assert f"| {LINES_BASELINE} | 0.500 ± 0.100 | 0.25 |" in markdown
    assert METRICS_WARNING in markdown
    for metric in METRICS:
        assert (metric.description in markdown) == (metric.key in reported_keys())
        assert "\n" not in metric.description


def reported_keys() -> set[str]:
    return {"l1", "kid_efflite0", "edge_f1", "near_white"}


def test_missing_estimate_is_a_dash() -> None:
    assert format_estimate(METRICS[0], None) == "–"
    assert format_estimate(METRICS[0], Estimate(0.5, None, None, 1)) == "0.500"


@pytest.mark.parametrize("sketches", [1, 3])
def test_sheet_has_drawing_first_and_nearest_picture_last(sketches: int) -> None:
    with Image.open(io.BytesIO(render_comparison_sheet(make_comparison(sketches)))) as sheet:
        assert sheet.size[0] == 6 * 260 + 4
        top = sheet.size[1] - 19 - 8 - 4 - 260 * sketches + 4
        middles = [sheet.getpixel((4 + column * 260 + 128, top + 128)) for column in range(6)]
    expected = [(220,) * 3, (255,) * 3, *CHECKPOINT_COLORS.values(), (9,) * 3]
    for actual, color in zip(middles, expected, strict=True):
        assert isinstance(actual, tuple)
        assert actual == pytest.approx(color, abs=4)
