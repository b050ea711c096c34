"""Cropping leaves out only cells that nothing reads."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hed.crop_plan import BORDER, CONVS_PER_BLOCK, STRIDE, CropPlan, plan_axis
from hed.engines.torch import _forward
from tests.conftest import draw_scene
from tests.hed.networks import THIN_CHANNELS, detect_uncropped, make_layers, make_weights

LAYERS = make_layers(0, THIN_CHANNELS)
TENSORS = {
    name: (torch.from_numpy(kernel), torch.from_numpy(bias))
    for name, (kernel, bias) in LAYERS.items()
}
RECEPTIVE_RADIUS = 113


def detect_cropped(picture: np.ndarray, border: int) -> np.ndarray:
    plan = CropPlan(*(plan_axis(side, border) for side in picture.shape[:2]))
    rows, columns = plan.rows, plan.columns
    pads = (rows.pad_before, rows.pad_after), (columns.pad_before, columns.pad_after), (0, 0)
    blue, green, red = make_weights(LAYERS).mean
    batch = (np.pad(picture, pads, mode="reflect") - np.array([red, green, blue]))[..., ::-1]
    tensor = torch.from_numpy(np.ascontiguousarray(batch.transpose(2, 0, 1)[np.newaxis]))
    return _forward(TENSORS, tensor.float(), plan)[0].numpy()


@settings(max_examples=60, deadline=None)
@given(height=st.integers(2, 90), width=st.integers(2, 90), border=st.integers(0, 140))
def test_cropped_network_equals_uncropped_network(height: int, width: int, border: int) -> None:
    picture = draw_scene(height * 91 + width, 96, 96)[:height, :width]
    expected = detect_uncropped(LAYERS, picture, border)
    np.testing.assert_allclose(detect_cropped(picture, border), expected, atol=2e-5)


def test_every_side_output_affects_the_result() -> None:
    """Otherwise the comparison of both networks would prove nothing."""
    picture = draw_scene(4)
    assert detect_cropped(picture, 16).std() > 0.05
    # Without any one side output the result differs.
    for side in ("dsn1", "dsn2", "dsn3", "dsn4", "dsn5"):
        without = {**LAYERS, side: (LAYERS[side][0] * 0, LAYERS[side][1])}
        assert (
            np.abs(detect_uncropped(without, picture, 16) - detect_cropped(picture, 16)).max()
            > 0.01
        )


@given(side=st.integers(1, 600), border=st.integers(0, 300))
def test_layer_sizes_are_consistent(side: int, border: int) -> None:
    axis = plan_axis(side, border)
    size = axis.input_size
    for level, block in enumerate(axis.conv_paddings):
        if level:
            assert size % 2 == 0, "a pooling window is incomplete"
            size //= 2
        assert len(block) == CONVS_PER_BLOCK[level]
        for step in block:
            assert {step.before, step.after} <= {0, 1}
            size += step.before + step.after - 2
        first, cells, skip = axis.score_crops[level]
        assert 0 <= first <= first + cells <= size
        assert 0 <= skip <= skip + side <= cells << level


@given(side=st.integers(1, 600), border=st.integers(RECEPTIVE_RADIUS + STRIDE, 300))
def test_border_beyond_receptive_field_adds_no_input(side: int, border: int) -> None:
    axis = plan_axis(side, border)
    assert (
        axis.input_size
        <= plan_axis(side, border + STRIDE).input_size
        <= side + 2 * RECEPTIVE_RADIUS
    )
    assert all(step == block[0] for block in axis.conv_paddings for step in block), (
        "zero padding inside the border"
    )


@pytest.mark.parametrize("side", range(32, 800, 32))
def test_default_border_aligns_pooling_cells_with_authors_network(side: int) -> None:
    axis = plan_axis(side, BORDER)
    # The authors' network: a border of 128 px and 34 px of padding in the first convolution.
    assert BORDER % STRIDE == (128 + 34) % STRIDE
    assert axis.pad_before == BORDER
    assert axis.pad_after >= BORDER - STRIDE


def test_crop_plan_saves_a_third_of_multiplications() -> None:
    """Multiplications of all layers, relative to a border of 128 px without cropping."""
    widths = (64, 128, 256, 512, 512)

    def count(sizes: list[list[int]]) -> int:
        inputs, total = 3, 0
        for level, block in enumerate(sizes):
            for size in block:
                total += size * size * inputs * widths[level] * 9
                inputs = widths[level]
        return total

    planned, size = [], plan_axis(256, BORDER).input_size
    for level, block in enumerate(plan_axis(256, BORDER).conv_paddings):
        size = size // 2 if level else size
        planned.append([size := size + step.before + step.after - 2 for step in block])
    original = [[512 >> level] * depth for level, depth in enumerate(CONVS_PER_BLOCK)]
    assert count(planned) / count(original) == pytest.approx(0.672, abs=0.002)
