import numpy as np
import pytest

from hed import EdgeDetector
from model.evaluation.metrics import estimate_line_metrics, match_lines
from postprocess import LineMatchCounts, clean_edges
from tests.conftest import draw_scene


def test_line_metrics_are_pooled_over_pixels() -> None:
    counts = [
        LineMatchCounts(10, 5, 8, 4),
        LineMatchCounts(90, 90, 100, 80),
        LineMatchCounts(),
        LineMatchCounts(0, 0, 7, 0),
    ]
    pooled = sum(counts, LineMatchCounts())
    estimates = estimate_line_metrics(counts)
    assert estimates["edge_f1"].value == pytest.approx(pooled.f1)
    assert estimates["edge_precision"].value == pytest.approx(pooled.precision)
    assert estimates["edge_recall"].value == pytest.approx(pooled.recall)
    for estimate in estimates.values():
        assert estimate.low is not None and estimate.high is not None
        assert 0 <= estimate.low <= estimate.high <= 1
    empty = estimate_line_metrics([LineMatchCounts()])
    assert empty["edge_f1"].value == LineMatchCounts().f1


def test_pictures_match_their_own_lines_only(quick_detector: EdgeDetector) -> None:
    scenes = [draw_scene(seed, 128, 128) for seed in range(3)]
    drawings = [clean_edges(edges, 0.5) for edges in quick_detector.detect(scenes)]
    matches = match_lines(quick_detector, scenes, drawings, threshold=0.5)
    assert [one.f1 for one in matches] == [1, 1, 1]
    mixed = match_lines(quick_detector, scenes, [*drawings[1:], drawings[0]], threshold=0.5)
    assert max(one.f1 for one in mixed) < 0.7
    # Why no metric suffices alone: lines on white have a high precision.
    on_white = [np.repeat(drawing[..., None], 3, axis=2) for drawing in drawings]
    copied_lines = match_lines(quick_detector, on_white, drawings, threshold=0.5)
    assert sum(copied_lines, LineMatchCounts()).precision > 0.9
