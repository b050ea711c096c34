import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.evaluation.metrics import estimate_mean
from model.evaluation.metrics.bootstrap import bootstrap_weights, mean_over_pairs

values = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=60)


@settings(max_examples=40, deadline=None)
@given(values)
def test_the_interval_contains_the_mean(given_values: list[float]) -> None:
    found = estimate_mean(np.array(given_values))
    assert found.value == pytest.approx(np.mean(given_values), abs=1e-9)
    assert found.low is not None and found.high is not None
    assert found.low <= found.value + 1e-9 and found.high >= found.value - 1e-9
    assert min(given_values) - 1e-9 <= found.low <= found.high <= max(given_values) + 1e-9
    assert found == estimate_mean(np.array(given_values)), "a second time it is another"


def test_the_interval_is_as_wide_as_theory_has_it() -> None:
    sample = np.random.default_rng(0).normal(5, 2, 200)
    found = estimate_mean(sample)
    assert found.low is not None and found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * sample.std() / 200**0.5, rel=0.1)


def test_it_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        found = estimate_mean(random.exponential(1, 40))
        assert found.low is not None and found.high is not None
        hits += found.low <= 1 <= found.high
    assert 0.87 < hits / 300 < 0.98


@pytest.mark.parametrize("pictures", [1, 2])
def test_a_picture_or_two_have_no_interval(pictures: int) -> None:
    found = estimate_mean(np.arange(pictures, dtype=float))
    assert (found.low, found.high) == (None, None)


def test_pairs_are_of_two_different_pictures() -> None:
    points = np.random.default_rng(2).normal(size=(6, 1))
    between = np.abs(points - points.T)
    counts = bootstrap_weights(6)[:20]
    found = mean_over_pairs(between, counts)
    for count, mean in zip(counts, found, strict=True):
        there = np.repeat(np.arange(6), count.astype(int))
        pairs = [between[one, two] for one in there for two in there if one != two]
        assert mean == pytest.approx(np.mean(pairs))
    # The draws are about the value: leaving a picture's pairs with itself in would shrink them.
    everything = mean_over_pairs(between, bootstrap_weights(6))
    once = mean_over_pairs(between, np.ones((1, 6)))[0]
    assert np.mean(everything) == pytest.approx(once, rel=0.05)
    assert np.isnan(mean_over_pairs(between, np.eye(6)[:1] * 6)[0])
