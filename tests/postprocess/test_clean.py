from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import label

from config.errors import InputError
from postprocess import clean_edges

TEST_FOLDER = Path(__file__).parent
GOLDENS = sorted(TEST_FOLDER.glob("goldens/*.prob.png"))
OCTAVE = np.load(TEST_FOLDER / "octave_cases.npz")

edge_maps = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24),
    elements=st.floats(0, 1, width=32),
)


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.name.split(".")[0])
def test_equals_published_program(path: Path) -> None:
    probability = np.asarray(Image.open(path), np.float32) / np.float32(65535)
    expected = np.asarray(Image.open(str(path).replace(".prob.", ".clean.")))
    assert np.count_nonzero(clean_edges(probability, 25 / 255, 5) != expected) == 0


def test_four_golden_files_exist() -> None:
    assert len(GOLDENS) == 4


@pytest.mark.parametrize("case", sorted({name.split(".")[0] for name in OCTAVE.files}))
def test_equals_octave_where_rounding_decides(case: str) -> None:
    result = clean_edges(OCTAVE[f"{case}.map"], 25 / 255, 5)
    assert np.count_nonzero(result != OCTAVE[f"{case}.clean"]) == 0


@given(edge_maps, st.floats(0, 1), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_any_map_gives_binary_drawing(
    probability: NDArray[np.float32], threshold: float, min_pixels: int
) -> None:
    original = probability.copy()
    drawing = clean_edges(probability, threshold, min_pixels)
    assert drawing.shape == probability.shape
    assert drawing.dtype == np.uint8
    assert set(np.unique(drawing)) <= {0, 255}
    assert np.array_equal(original, probability), "the input was changed"
    # Lines occur only where the map reaches the threshold, up to the last bit.
    assert (probability[drawing == 0] >= np.float32(threshold) - 1e-6).all()
    sizes = np.bincount(label(drawing == 0, connectivity=2).ravel())[1:]
    assert (sizes >= min_pixels).all()


@given(edge_maps, st.floats(0.05, 1))
@settings(max_examples=50, deadline=None)
def test_larger_min_pixels_only_removes_pixels(
    probability: NDArray[np.float32], threshold: float
) -> None:
    few, many = (clean_edges(probability, threshold, n) == 0 for n in (2, 6))
    assert not (many & ~few).any()


@given(edge_maps, st.floats(0, 0.5), st.integers(2, 9))
@settings(max_examples=50, deadline=None)
def test_components_are_removed_completely(
    probability: NDArray[np.float32], threshold: float, min_pixels: int
) -> None:
    parts = label(clean_edges(probability, threshold, 0) == 0, connectivity=2)
    sizes = np.bincount(parts.ravel())
    large = (sizes >= min_pixels)[parts] & (parts > 0)
    assert np.array_equal(clean_edges(probability, threshold, min_pixels) == 0, large)


def test_memory_layout_does_not_affect_result() -> None:
    probability = np.random.default_rng(3).random((60, 80), dtype=np.float32)
    expected = clean_edges(probability, 0.3)
    assert np.array_equal(clean_edges(np.asfortranarray(probability), 0.3), expected)
    assert np.array_equal(clean_edges(np.repeat(probability, 2, axis=1)[:, ::2], 0.3), expected)


def test_ridge_becomes_line_of_one_pixel() -> None:
    ridge = np.zeros((40, 60), np.float32)
    ridge[17:24] = np.array([0.2, 0.5, 0.8, 1, 0.8, 0.5, 0.2], np.float32)[:, None]
    drawing = clean_edges(ridge, 0.3)
    assert ((drawing == 0).sum(axis=0)[6:-6] == 1).all()
    assert (drawing[20, 6:-6] == 0).all()


def test_empty_map_gives_white_drawing() -> None:
    assert (clean_edges(np.zeros((8, 8), np.float32), 0.0) == 255).all()


@pytest.mark.parametrize(
    ("probability", "threshold", "min_pixels", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), 0.5, 5, "4×4×3"),
        (np.zeros((0, 4), np.float32), 0.5, 5, "0×4"),
        (np.full((4, 4), np.nan, np.float32), 0.5, 5, "nan"),
        (np.full((4, 4), 255, np.float32), 0.5, 5, "255"),
        (np.zeros((4, 4), np.float32), 25, 5, "threshold"),
        (np.zeros((4, 4), np.float32), float("nan"), 5, "threshold"),
        (np.zeros((4, 4), np.float32), 0.5, -1, "min_pixels"),
    ],
)
def test_invalid_input_raises_input_error(
    probability: NDArray[np.float32], threshold: float, min_pixels: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        clean_edges(probability, threshold, min_pixels)
