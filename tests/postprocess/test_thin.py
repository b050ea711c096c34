import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from skimage.measure import label
from skimage.morphology import thin as reference

from postprocess.thin import thin

Mask = NDArray[np.bool_]

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


@given(masks)
@settings(max_examples=300, deadline=None)
def test_equals_skimage(mask: Mask) -> None:
    original = mask.copy()
    assert np.array_equal(thin(mask), reference(mask))
    assert np.array_equal(original, mask), "the input was changed"


def test_equals_skimage_on_every_4x4_mask() -> None:
    # All 65,536 side by side, a gap of two pixels between them.
    codes = np.arange(1 << 16).reshape(256, 256)
    masks = np.zeros((256 * 6, 256 * 6), bool)
    for bit in range(16):
        masks[1 + bit // 4 :: 6, 1 + bit % 4 :: 6] = codes >> bit & 1
    thinned = thin(masks)
    assert np.array_equal(thinned, reference(masks))
    assert label(thinned, connectivity=2).max() == label(masks, connectivity=2).max()


@pytest.mark.parametrize("density", [0.02, 0.2, 0.5, 0.8, 0.98, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (1, 57), (57, 1), (2, 2), (2, 60), (64, 64), (101, 37)])
def test_equals_skimage_at_every_density(shape: tuple[int, int], density: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        mask = rng.random(shape) < density
        assert np.array_equal(thin(mask), reference(mask))


def test_memory_layout_does_not_affect_result() -> None:
    mask = np.random.default_rng(2).random((40, 50)) < 0.7
    for view in (mask.T, mask[::2, ::-3], np.asfortranarray(mask)):
        assert np.array_equal(thin(view), reference(view))
