import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.evaluation.metrics.kid import KernelDistance


def sample_features(seed: int, count: int, shift: float = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(shift, 1, (count, 8)).astype(np.float32)


def direct_distance(some: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """The unbiased estimate of the squared MMD, pair by pair."""

    def kernel(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
        return float((one.astype(float) @ two / len(one) + 1) ** 3)

    def within(rows: NDArray[np.float32]) -> float:
        pairs = [kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
        return float(np.mean(pairs))

    across = np.mean([kernel(a, b) for a in some for b in others])
    return float(within(some) + within(others) - 2 * across)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 9), st.integers(2, 9), st.floats(0, 2))
def test_estimate_equals_direct_computation(seed: int, n: int, m: int, shift: float) -> None:
    some, others = sample_features(seed, n, shift), sample_features(seed + 1, m)
    expected = direct_distance(some, others)
    assert KernelDistance(others).estimate(some).value == pytest.approx(
        expected, rel=1e-6, abs=1e-9
    )
    assert KernelDistance(some).estimate(others).value == pytest.approx(
        expected, rel=1e-6, abs=1e-9
    )


def test_estimate_is_unbiased_for_any_number_of_pictures() -> None:
    kernel = KernelDistance(sample_features(0, 300))
    for count in (5, 40):
        distances = np.array(
            [kernel.estimate(sample_features(seed, count)).value for seed in range(1, 201)]
        )
        error = distances.std() / len(distances) ** 0.5
        # The reference is a sample too, with a small deviation of its own.
        assert abs(distances.mean()) < 4 * error + 0.02, f"biased with {count} pictures"
        assert (distances < 0).any() and (distances > 0).any()


def test_different_sets_have_significant_distance() -> None:
    kernel = KernelDistance(sample_features(0, 200))
    near, far = (kernel.estimate(sample_features(1, 60, shift)) for shift in (0.2, 1))
    assert far.value > near.value
    assert far.low is not None and far.high is not None
    assert 0 < far.low < far.value < far.high
    assert far == kernel.estimate(sample_features(1, 60, 1))
    equal = kernel.estimate(sample_features(0, 200))
    assert equal.value == pytest.approx(0, abs=0.1)
