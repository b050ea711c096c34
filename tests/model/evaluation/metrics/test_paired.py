import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from model.evaluation.metrics import l1, ms_ssim, ssim
from tests.conftest import draw_scene

MEASURES = (l1, ssim, ms_ssim)


def noise(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (176, 176, 3), np.uint8)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_equal_pictures_are_perfect_and_metrics_are_symmetric(one: int, other: int) -> None:
    first, second = draw_scene(one, 176, 176), noise(other)
    assert [measure(first, first) for measure in MEASURES] == pytest.approx([0, 1, 1])
    for measure in MEASURES:
        assert measure(first, second) == pytest.approx(measure(second, first), abs=1e-5)
        assert 0 <= measure(first, second) < 1


def test_metrics_of_known_pictures() -> None:
    black, white = np.zeros((200, 200, 3), np.uint8), np.full((200, 200, 3), 255, np.uint8)
    assert l1(black, white) == 1
    assert l1(black, black + np.uint8(51)) == pytest.approx(0.2)
    # Two flat pictures have only a luminance term: c1 / (255² + c1), with c1 = (0.01 · 255)².
    assert ssim(black, white) == pytest.approx(1e-4 / (1 + 1e-4), rel=1e-6)


def test_ms_ssim_equals_reference_implementation() -> None:
    scene = draw_scene(3, 192, 192)
    changed = np.clip(scene * 0.8 + noise(1)[:1, :1] * 0.1, 0, 255)
    changed[40:90, 60:150] += np.random.default_rng(0).normal(0, 20, (50, 90, 3))
    other = np.clip(changed, 0, 255).astype(np.uint8)
    assert ms_ssim(scene, other) == pytest.approx(reference_ms_ssim(scene, other), abs=2e-4)


def reference_ms_ssim(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Wang, Simoncelli and Bovik (2003), per channel, with a Gaussian window inside the picture."""
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
        for axis in (0, 1):
            values = convolve1d(values, window, axis)
        return values[5:-5, 5:-5]

    results = []
    for channel in range(3):
        x, y = (it[..., channel].astype(float) for it in (one, other))
        total = 1.0
        for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            if scale:
                x, y = (it.reshape(len(it) // 2, 2, -1, 2).mean((1, 3)) for it in (x, y))
            mx, my = smooth(x), smooth(y)
            vx, vy = smooth(x * x) - mx**2, smooth(y * y) - my**2
            cover = smooth(x * y) - mx * my
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            term = (2 * cover + c2) / (vx + vy + c2)
            if scale == 4:
                term = term * (2 * mx * my + c1) / (mx**2 + my**2 + c1)
            total *= max(float(term.mean()), 0.0) ** weight
        results.append(total)
    return float(np.mean(results))
