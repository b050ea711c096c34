import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.evaluation.metrics import estimate_mean
from model.evaluation.metrics.bootstrap import bootstrap_weights, mean_over_pairs

values = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=60)


@settings(max_examples=40, deadline=None)
@given(values)
def test_interval_contains_mean(sample: list[float]) -> None:
    interval = estimate_mean(np.array(sample))
    assert interval.value == pytest.approx(np.mean(sample), abs=1e-9)
    assert interval.low is not None and interval.high is not None
    assert interval.low <= interval.value + 1e-9 and interval.high >= interval.value - 1e-9
    assert min(sample) - 1e-9 <= interval.low <= interval.high <= max(sample) + 1e-9
    assert interval == estimate_mean(np.array(sample)), "the interval is not deterministic"


def test_interval_has_theoretical_width() -> None:
    sample = np.random.default_rng(0).normal(5, 2, 200)
    interval = estimate_mean(sample)
    assert interval.low is not None and interval.high is not None
    assert interval.high - interval.low == pytest.approx(
        2 * 1.96 * sample.std() / 200**0.5, rel=0.1
    )


def test_interval_covers_true_mean_in_95_percent() -> None:
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        interval = estimate_mean(random.exponential(1, 40))
        assert interval.low is not None and interval.high is not None
        hits += interval.low <= 1 <= interval.high
    assert 0.87 < hits / 300 < 0.98


@pytest.mark.parametrize("num_pictures", [1, 2])
def test_fewer_than_three_pictures_have_no_interval(num_pictures: int) -> None:
    interval = estimate_mean(np.arange(num_pictures, dtype=float))
    assert (interval.low, interval.high) == (None, None)


def test_mean_over_pairs_excludes_pairs_with_itself() -> None:
    points = np.random.default_rng(2).normal(size=(6, 1))
    pairwise = np.abs(points - points.T)
    weights = bootstrap_weights(6)[:20]
    means = mean_over_pairs(pairwise, weights)
    for count, mean in zip(weights, means, strict=True):
        indices = np.repeat(np.arange(6), count.astype(int))
        pairs = [pairwise[one, two] for one in indices for two in indices if one != two]
        assert mean == pytest.approx(np.mean(pairs))
    # Pairs of a picture with itself would bias the resampled means.
    resampled = mean_over_pairs(pairwise, bootstrap_weights(6))
    full_mean = mean_over_pairs(pairwise, np.ones((1, 6)))[0]
    assert np.mean(resampled) == pytest.approx(full_mean, rel=0.05)
    assert np.isnan(mean_over_pairs(pairwise, np.eye(6)[:1] * 6)[0])
