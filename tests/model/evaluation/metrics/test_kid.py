import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.evaluation.metrics.kid import KernelDistance


def sample_features(seed: int, count: int, shift: float = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(shift, 1, (count, 8)).astype(np.float32)


def direct_distance(some: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """The unbiased estimate of squared MMD, pair by pair."""

    def kernel(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
        return float((one.astype(float) @ two / len(one) + 1) ** 3)

    def within(rows: NDArray[np.float32]) -> float:
        pairs = [kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
        return float(np.mean(pairs))

    across = np.mean([kernel(a, b) for a in some for b in others])
    return float(within(some) + within(others) - 2 * across)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 9), st.integers(2, 9), st.floats(0, 2))
def test_it_is_the_estimate_of_the_paper(seed: int, n: int, m: int, shift: float) -> None:
    some, others = sample_features(seed, n, shift), sample_features(seed + 1, m)
    expected = direct_distance(some, others)
    assert KernelDistance(others).estimate(some).value == pytest.approx(
        expected, rel=1e-6, abs=1e-9
    )
    assert KernelDistance(some).estimate(others).value == pytest.approx(
        expected, rel=1e-6, abs=1e-9
    )


def test_sets_of_one_kind_are_about_nothing_apart_however_few() -> None:
    kernel = KernelDistance(sample_features(0, 300))
    for count in (5, 40):
        found = np.array(
            [kernel.estimate(sample_features(seed, count)).value for seed in range(1, 201)]
        )
        error = found.std() / len(found) ** 0.5
        # The reference itself is a sample: the distances are about its own small one.
        assert abs(found.mean()) < 4 * error + 0.02, f"biased with {count} pictures"
        assert (found < 0).any() and (found > 0).any()


def test_what_differs_is_apart_and_the_interval_says_so() -> None:
    kernel = KernelDistance(sample_features(0, 200))
    near, far = (kernel.estimate(sample_features(1, 60, shift)) for shift in (0.2, 1))
    assert far.value > near.value
    assert far.low is not None and far.high is not None
    assert 0 < far.low < far.value < far.high
    assert far == kernel.estimate(sample_features(1, 60, 1))
    equal = kernel.estimate(sample_features(0, 200))
    assert equal.value == pytest.approx(0, abs=0.1)
