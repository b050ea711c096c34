import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.evaluation.metrics.colors import (
    colorfulness,
    estimate_diversity,
    estimate_histogram_distance,
    lab_histogram,
    lab_thumbnail,
    mean_distance,
    near_white_share,
    pairwise_distances,
)
from tests.conftest import draw_scene

Picture = NDArray[np.uint8]


def plain_picture(*color: int) -> Picture:
    return np.full((64, 64, 3), color, np.uint8)


def test_colorfulness_of_known_pictures() -> None:
    assert colorfulness(plain_picture(77, 77, 77)) == 0
    # A single color has no spread: 0.3 · √((R - G)² + ((R + G) / 2 - B)²).
    assert colorfulness(plain_picture(255, 0, 0)) == pytest.approx(0.3 * np.hypot(255, 127.5))
    halves = np.concatenate([plain_picture(255, 0, 0), plain_picture(0, 255, 0)])
    assert colorfulness(halves) == pytest.approx(255 + 0.3 * 127.5)


def test_near_white_share_of_known_picture() -> None:
    halves = np.concatenate([plain_picture(240, 255, 250), plain_picture(255, 255, 239)])
    assert near_white_share(halves) == 0.5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_histogram_distance_is_symmetric_and_bounded(one: int, other: int) -> None:
    first, second = (lab_histogram(draw_scene(seed)) for seed in (one, other))
    assert first.sum() == pytest.approx(1)
    assert estimate_histogram_distance(first[np.newaxis], first).value == 0
    distance = estimate_histogram_distance(first[np.newaxis], second).value
    assert distance == pytest.approx(estimate_histogram_distance(second[np.newaxis], first).value)
    assert 0 <= distance <= 1 + 1e-12


def test_histogram_distance_is_share_of_pixels() -> None:
    target = lab_histogram(plain_picture(200, 30, 30))
    quarter = plain_picture(200, 30, 30)
    quarter[:16] = (30, 30, 200)
    estimate = estimate_histogram_distance(lab_histogram(quarter)[np.newaxis], target)
    assert estimate.value == pytest.approx(0.25)
    tinted = estimate_histogram_distance(
        lab_histogram(plain_picture(250, 250, 248))[np.newaxis],
        lab_histogram(plain_picture(255, 255, 255)),
    )
    assert tinted.value == 0, "slightly yellow white counts as another color"


def test_diversity_is_relative_to_reference() -> None:
    scenes = np.stack([lab_thumbnail(draw_scene(seed)) for seed in range(12)])
    reference_distance = mean_distance(scenes)
    assert estimate_diversity(scenes, reference_distance).value == pytest.approx(1)
    assert estimate_diversity(np.repeat(scenes[:1], 5, 0), reference_distance).value == 0
    pairwise = pairwise_distances(scenes, scenes)
    expected = np.abs(scenes[:, None].astype(int) - scenes[None]).mean(2)
    assert pairwise == pytest.approx(expected, abs=1e-4)
    assert reference_distance == pytest.approx(expected[~np.eye(12, dtype=bool)].mean())


@given(st.integers(3, 12), st.integers(0, 100))
def test_interval_contains_histogram_distance(count: int, seed: int) -> None:
    """Resampled pictures have a larger distance: the uncorrected interval is too high."""
    histograms = np.random.default_rng(seed).dirichlet(np.full(200, 0.1), count)
    near, far = histograms.mean(0), np.eye(200)[0]
    for target in (near, far):
        estimate = estimate_histogram_distance(histograms, target)
        assert estimate.low is not None and estimate.high is not None
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate_histogram_distance(histograms, near).low == 0
