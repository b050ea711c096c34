"""What the plan leaves out is what nothing reads."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hed.crop_plan import BORDER, DEPTHS, STRIDE, Plan, plan_axis
from hed.engines.torch import _forward
from tests.conftest import draw_scene
from tests.hed.networks import THIN, as_weights, detect_whole, make_layers

LAYERS = make_layers(0, THIN)
TENSORS = {
    name: (torch.from_numpy(kernel), torch.from_numpy(bias))
    for name, (kernel, bias) in LAYERS.items()
}
VIEW = 113


def detect_planned(picture: np.ndarray, border: int) -> np.ndarray:
    plan = Plan(*(plan_axis(side, border) for side in picture.shape[:2]))
    rows, columns = plan.rows, plan.columns
    pads = (rows.before, rows.after), (columns.before, columns.after), (0, 0)
    blue, green, red = as_weights(LAYERS).mean
    batch = (np.pad(picture, pads, mode="reflect") - np.array([red, green, blue]))[..., ::-1]
    tensor = torch.from_numpy(np.ascontiguousarray(batch.transpose(2, 0, 1)[np.newaxis]))
    return _forward(TENSORS, tensor.float(), plan)[0].numpy()


@settings(max_examples=60, deadline=None)
@given(height=st.integers(2, 90), width=st.integers(2, 90), border=st.integers(0, 140))
def test_the_planned_network_equals_the_whole_one(height: int, width: int, border: int) -> None:
    picture = draw_scene(height * 91 + width, 96, 96)[:height, :width]
    expected = detect_whole(LAYERS, picture, border)
    np.testing.assert_allclose(detect_planned(picture, border), expected, atol=2e-5)


def test_the_small_network_tells_differences() -> None:
    """The comparison above would be empty if the random network saw nothing."""
    picture = draw_scene(4)
    assert detect_planned(picture, 16).std() > 0.05
    # Every block matters: without its side output the result is another.
    for side in ("dsn1", "dsn2", "dsn3", "dsn4", "dsn5"):
        without = {**LAYERS, side: (LAYERS[side][0] * 0, LAYERS[side][1])}
        assert np.abs(detect_whole(without, picture, 16) - detect_planned(picture, 16)).max() > 0.01


@given(side=st.integers(1, 600), border=st.integers(0, 300))
def test_sizes_fit_together(side: int, border: int) -> None:
    axis = plan_axis(side, border)
    size = axis.input
    for level, block in enumerate(axis.blocks):
        if level:
            assert size % 2 == 0, "a pooling window would be cut"
            size //= 2
        assert len(block) == DEPTHS[level]
        for step in block:
            assert {step.before, step.after} <= {0, 1}
            size += step.before + step.after - 2
        first, cells, skip = axis.scores[level]
        assert 0 <= first <= first + cells <= size
        assert 0 <= skip <= skip + side <= cells << level


@given(side=st.integers(1, 600), border=st.integers(VIEW + STRIDE, 300))
def test_a_larger_border_costs_nothing(side: int, border: int) -> None:
    axis = plan_axis(side, border)
    assert axis.input <= plan_axis(side, border + STRIDE).input <= side + 2 * VIEW
    assert all(step == block[0] for block in axis.blocks for step in block), "zeros came in"


@pytest.mark.parametrize("side", range(32, 800, 32))
def test_the_usual_border_puts_the_cells_where_the_authors_are(side: int) -> None:
    axis = plan_axis(side, BORDER)
    # Their 128 px and 34 more that the first convolution pads.
    assert BORDER % STRIDE == (128 + 34) % STRIDE
    assert axis.before == BORDER
    assert axis.after >= BORDER - STRIDE


def test_the_plan_saves_a_third_of_the_originals_work() -> None:
    """Multiplications, counted layer by layer, against a border of 128 px without a plan."""
    widths = (64, 128, 256, 512, 512)

    def count(sizes: list[list[int]]) -> int:
        inputs, total = 3, 0
        for level, block in enumerate(sizes):
            for size in block:
                total += size * size * inputs * widths[level] * 9
                inputs = widths[level]
        return total

    planned, size = [], plan_axis(256, BORDER).input
    for level, block in enumerate(plan_axis(256, BORDER).blocks):
        size = size // 2 if level else size
        planned.append([size := size + step.before + step.after - 2 for step in block])
    whole = [[512 >> level] * depth for level, depth in enumerate(DEPTHS)]
    assert count(planned) / count(whole) == pytest.approx(0.672, abs=0.002)
