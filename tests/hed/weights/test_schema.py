from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import InputError
from hed.crop_plan import CropPlan, plan_axis
from hed.weights import HedWeights
from hed.weights.schema import LAYER_SHAPES, check_layers
from tests.hed.networks import THIN_CHANNELS, Layers, make_layers
from tests.hed.weights import files

FILE = Path("file.h5")


def test_layer_shapes_are_those_of_vgg16() -> None:
    assert LAYER_SHAPES["conv1_1"] == ((64, 3, 3, 3), (64,))
    assert LAYER_SHAPES["conv4_1"] == ((512, 256, 3, 3), (512,))
    assert LAYER_SHAPES["dsn5"] == ((1, 512, 1, 1), (1,))
    assert LAYER_SHAPES["fuse"] == ((1, 5, 1, 1), (1,))
    assert (
        sum(int(np.prod(shape)) for both in LAYER_SHAPES.values() for shape in both) == 14_716_171
    )


def test_complete_layers_pass(layers: Layers) -> None:
    check_layers(layers, FILE)


def test_missing_layer_error_names_layer(layers: Layers) -> None:
    incomplete = {name: layer for name, layer in layers.items() if name != "conv4_2"}
    with pytest.raises(InputError, match=r"file\.h5 lack the layer conv4_2"):
        check_layers(incomplete, FILE)


@pytest.mark.parametrize("name", ["conv3_1", "dsn2", "fuse"])
@pytest.mark.parametrize("part", [0, 1])
def test_wrong_shape_error_names_both_shapes(layers: Layers, name: str, part: int) -> None:
    parts = list(layers[name])
    parts[part] = parts[part][np.newaxis]
    wrong = {**layers, name: (parts[0], parts[1])}
    sides = "×".join(map(str, layers[name][part].shape))
    with pytest.raises(InputError, match=f"{name} is 1×{sides}, and HED's is {sides}"):
        check_layers(wrong, FILE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_values_error_names_layer(layers: Layers, value: float) -> None:
    bias = layers["conv5_3"][1].copy()
    bias[100] = value
    with pytest.raises(InputError, match="bias of conv5_3 contains values that are not finite"):
        check_layers({**layers, "conv5_3": (layers["conv5_3"][0], bias)}, FILE)


def test_hed_input_is_cropped_and_custom_network_input_is_not() -> None:
    hed = HedWeights("keras", "", 0.5, {})
    assert hed.plan_crop(100, 64, 114) == CropPlan(plan_axis(100, 114), plan_axis(64, 114))
    custom = HedWeights("onnx", "", None, model=b"model")
    rows, columns = (lambda plan: (plan.rows, plan.columns))(custom.plan_crop(100, 5, 8))
    assert (rows.output_size, rows.pad_before, rows.input_size) == (100, 8, 128)
    assert (columns.output_size, columns.pad_before, columns.input_size) == (5, 8, 32)


def test_built_graph_has_planned_size() -> None:
    model = files.make_custom_network().SerializeToString()
    for weights in (
        HedWeights("keras", "", 0.5, make_layers(0, THIN_CHANNELS)),
        HedWeights("onnx", "", None, model=model),
    ):
        plan = weights.plan_crop(40, 24, 4)
        net = cv2.dnn.readNetFromONNX(np.frombuffer(weights.build_onnx(plan), np.uint8))
        net.setInput(np.zeros((1, 3, plan.rows.input_size, plan.columns.input_size), np.float32))
        assert net.forward("edges").shape == (1, 1, 40, 24)
