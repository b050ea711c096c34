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


def test_median_extent_of_training_drawings(store: LocalStore) -> None:
    publish_test_pairs(store, "tttv")
    pairs = PairDataset(store, "tiny", "pairs", "train", 64)
    expected = np.median([compute_extent(make_pair(number)[0]) for number in range(3)])
    assert compute_median_extent(pairs) == expected


def test_sketch_is_normalized_to_the_extent() -> None:
    sketch = prepare_sketch(make_sketch(), 0.5, 128)
    assert sketch.shape == (128, 128)
    rows = np.flatnonzero((sketch < 255).any(1))
    assert rows[-1] - rows[0] + 1 == pytest.approx(64, abs=3)


def test_sketch_grid_shows_sketches_and_generated_pictures() -> None:
    torch.manual_seed(0)
    generator = Generator(4, 1)
    sketches = [prepare_sketch(make_sketch(), extent, 64) for extent in (0.5, 0.7, 0.9, 0.6, 0.8)]
    with Image.open(io.BytesIO(render_sketches(generator, sketches, CPU))) as grid:
        assert grid.size == (8 * 68 + 4, 2 * 68 + 4)
        pixels = np.asarray(grid).astype(int)
    drawing = pixels[4:68, 4:68]
    assert abs(drawing.mean(2) - sketches[0]).mean() < 8
    conditions = torch.from_numpy(np.stack(sketches)[:, None] / np.float32(255))
    with torch.no_grad():
        generated = ((generator(conditions) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert abs(pixels[72:136, 72:136] - generated).mean((1, 2, 3)).argmin() == 4
