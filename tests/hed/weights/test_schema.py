from pathlib import Path

import cv2
import numpy as np
import pytest

from config.errors import InputError
from hed.crop_plan import Plan, plan_axis
from hed.weights import Weights
from hed.weights.schema import SHAPES, check_layers
from tests.hed.networks import THIN, Layers, make_layers
from tests.hed.weights import files

FILE = Path("file.h5")


def test_the_shapes_are_vggs() -> None:
    assert SHAPES["conv1_1"] == ((64, 3, 3, 3), (64,))
    assert SHAPES["conv4_1"] == ((512, 256, 3, 3), (512,))
    assert SHAPES["dsn5"] == ((1, 512, 1, 1), (1,))
    assert SHAPES["fuse"] == ((1, 5, 1, 1), (1,))
    assert sum(int(np.prod(shape)) for both in SHAPES.values() for shape in both) == 14_716_171


def test_whole_layers_pass(layers: Layers) -> None:
    check_layers(layers, FILE)


def test_a_missing_layer_is_named(layers: Layers) -> None:
    rest = {name: layer for name, layer in layers.items() if name != "conv4_2"}
    with pytest.raises(InputError, match=r"file\.h5 lack the layer conv4_2"):
        check_layers(rest, FILE)


@pytest.mark.parametrize("name", ["conv3_1", "dsn2", "fuse"])
@pytest.mark.parametrize("part", [0, 1])
def test_another_shape_is_named_with_the_right_one(layers: Layers, name: str, part: int) -> None:
    parts = list(layers[name])
    parts[part] = parts[part][np.newaxis]
    wrong = {**layers, name: (parts[0], parts[1])}
    sides = "×".join(map(str, layers[name][part].shape))
    with pytest.raises(InputError, match=f"{name} is 1×{sides}, and HED's is {sides}"):
        check_layers(wrong, FILE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(layers: Layers, value: float) -> None:
    bias = layers["conv5_3"][1].copy()
    bias[100] = value
    with pytest.raises(InputError, match="bias of conv5_3 holds values that are not finite"):
        check_layers({**layers, "conv5_3": (layers["conv5_3"][0], bias)}, FILE)


def test_heds_plan_spares_and_an_own_networks_gives_all() -> None:
    hed = Weights("keras", "", 0.5, {})
    assert hed.plan(100, 64, 114) == Plan(plan_axis(100, 114), plan_axis(64, 114))
    own = Weights("onnx", "", None, model=b"model")
    rows, columns = (lambda plan: (plan.rows, plan.columns))(own.plan(100, 5, 8))
    assert (rows.side, rows.before, rows.input) == (100, 8, 128)
    assert (columns.side, columns.before, columns.input) == (5, 8, 32)


def test_both_kinds_give_a_graph_of_the_plans_size() -> None:
    model = files.make_own().SerializeToString()
    for weights in (
        Weights("keras", "", 0.5, make_layers(0, THIN)),
        Weights("onnx", "", None, model=model),
    ):
        plan = weights.plan(40, 24, 4)
        net = cv2.dnn.readNetFromONNX(np.frombuffer(weights.graph(plan), np.uint8))
        net.setInput(np.zeros((1, 3, plan.rows.input, plan.columns.input), np.float32))
        assert net.forward("edges").shape == (1, 1, 40, 24)
