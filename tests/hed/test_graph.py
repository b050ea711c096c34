"""Compares the ONNX graph with a reference implementation in PyTorch."""

import cv2
import numpy as np
import pytest

from hed import load_weights
from hed.crop_plan import CropPlan, plan_axis
from hed.graph import LAYERS, build_graph
from tests.hed.networks import run_same_padding


@pytest.mark.parametrize("engine", [cv2.dnn.ENGINE_CLASSIC, cv2.dnn.ENGINE_NEW])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 80), (112, 64)])
def test_graph_equals_reference_network(height: int, width: int, engine: int) -> None:
    """Without a border nothing is cropped: the graph is the complete network."""
    layers = load_weights().layers
    assert layers is not None
    random = np.random.default_rng(height)
    batch = random.integers(-120, 120, (1, 3, height, width)).astype(np.float32)
    graph = build_graph(layers, CropPlan(plan_axis(height, 0), plan_axis(width, 0)))
    net = cv2.dnn.readNetFromONNX(np.frombuffer(graph, np.uint8), engine=engine)
    net.setInput(batch)
    expected = run_same_padding(dict(layers), batch)[np.newaxis]
    assert expected.std() > 0.01, "the reference output is constant"
    np.testing.assert_allclose(net.forward()[:, 0], expected, atol=5e-6)


def test_layer_names_are_unique() -> None:
    assert len(LAYERS) == len(set(LAYERS)) == 13 + 5 + 1
