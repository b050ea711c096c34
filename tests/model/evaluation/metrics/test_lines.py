import numpy as np
import pytest

from hed import EdgeDetector
from model.evaluation.metrics import estimate_line_metrics, match_lines
from postprocess import LineMatchCounts, clean_edges
from tests.conftest import draw_scene


def test_the_figures_are_of_all_line_pixels() -> None:
    found = [
        LineMatchCounts(10, 5, 8, 4),
        LineMatchCounts(90, 90, 100, 80),
        LineMatchCounts(),
        LineMatchCounts(0, 0, 7, 0),
    ]
    pooled = sum(found, LineMatchCounts())
    figures = estimate_line_metrics(found)
    assert figures["edge_f1"].value == pytest.approx(pooled.f1)
    assert figures["edge_precision"].value == pytest.approx(pooled.precision)
    assert figures["edge_recall"].value == pytest.approx(pooled.recall)
    for one in figures.values():
        assert one.low is not None and one.high is not None
        assert 0 <= one.low <= one.high <= 1
    alone = estimate_line_metrics([LineMatchCounts()])
    assert alone["edge_f1"].value == LineMatchCounts().f1


def test_pictures_that_keep_to_their_lines(quick_detector: EdgeDetector) -> None:
    scenes = [draw_scene(seed, 128, 128) for seed in range(3)]
    own = [clean_edges(edges, 0.5) for edges in quick_detector.detect(scenes)]
    followed = match_lines(quick_detector, scenes, own, threshold=0.5)
    assert [one.f1 for one in followed] == [1, 1, 1]
    mixed = match_lines(quick_detector, scenes, [*own[1:], own[0]], threshold=0.5)
    assert max(one.f1 for one in mixed) < 0.7
    # The warning that no figure stands alone: lines on white do well without being a picture.
    on_white = [np.repeat(drawing[..., None], 3, axis=2) for drawing in own]
    copied = match_lines(quick_detector, on_white, own, threshold=0.5)
    assert sum(copied, LineMatchCounts()).precision > 0.9
