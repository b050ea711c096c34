import io

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from model.data.dataset import PairDataset
from model.networks.generator import Generator
from model.training.samples import compute_median_extent, prepare_sketch, render_sketches
from postprocess import compute_extent
from storage import LocalStore
from tests.model.pairs import make_pair, publish_test_pairs

CPU = torch.device("cpu")


def make_sketch() -> NDArray[np.uint8]:
    sketch = np.full((300, 240, 3), 240, np.uint8)
    sketch[40:240, 30:34] = sketch[236:240, 30:150] = 40
    return sketch


def test_the_extent_is_that_of_the_training_drawings(store: LocalStore) -> None:
    publish_test_pairs(store, "tttv")
    pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    expected = np.median([compute_extent(make_pair(number)[0]) for number in range(3)])
    assert compute_median_extent(pairs) == expected


def test_a_sketch_becomes_a_condition() -> None:
    fitted = prepare_sketch(make_sketch(), 0.5, 128)
    assert fitted.shape == (128, 128)
    rows = np.flatnonzero((fitted < 255).any(1))
    assert rows[-1] - rows[0] + 1 == pytest.approx(64, abs=3)


def test_sketches_stand_beside_what_is_made_of_them() -> None:
    torch.manual_seed(0)
    generator = Generator(4, 1)
    fitted = [prepare_sketch(make_sketch(), extent, 64) for extent in (0.5, 0.7, 0.9, 0.6, 0.8)]
    with Image.open(io.BytesIO(render_sketches(generator, fitted, CPU))) as grid:
        assert grid.size == (8 * 68 + 4, 2 * 68 + 4)
        shown = np.asarray(grid).astype(int)
    drawing = shown[4:68, 4:68]
    assert abs(drawing.mean(2) - fitted[0]).mean() < 8
    conditions = torch.from_numpy(np.stack(fitted)[:, None] / np.float32(255))
    with torch.no_grad():
        made = ((generator(conditions) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert abs(shown[72:136, 72:136] - made).mean((1, 2, 3)).argmin() == 4
