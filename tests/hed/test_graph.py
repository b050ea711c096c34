"""The ONNX graph against the same network written a second time, in PyTorch."""

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import conv2d, interpolate, max_pool2d, relu

from hed import load_weights
from hed.graph import BLOCKS, LAYERS, SIDES, Layer, build_graph


def reference(layers: dict[str, Layer], batch: NDArray[np.float32]) -> NDArray[np.float32]:
    def convolve(name: str, features: torch.Tensor, padding: int = 0) -> torch.Tensor:
        kernel, bias = (torch.from_numpy(values) for values in layers[name])
        return conv2d(features, kernel, bias, padding=padding)

    features = torch.from_numpy(batch)
    size = list(batch.shape[2:])
    sides = []
    for index, (block, side) in enumerate(zip(BLOCKS, SIDES, strict=True)):
        if index:
            features = max_pool2d(features, 2)
        for name in block:
            features = relu(convolve(name, features, padding=1))
        score = convolve(side, features)
        sides.append(interpolate(score, size, mode="bilinear", align_corners=False))
    fused = convolve("fuse", torch.cat(sides, 1))
    result: NDArray[np.float32] = torch.sigmoid(fused)[:, 0].numpy()
    return result


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 80), (112, 64)])
def test_the_graph_is_hed(height: int, width: int) -> None:
    layers = load_weights().layers
    random = np.random.default_rng(height)
    batch = random.integers(-120, 120, (1, 3, height, width)).astype(np.float32)
    graph = np.frombuffer(build_graph(layers, height, width), np.uint8)
    net = cv2.dnn.readNetFromONNX(graph, engine=cv2.dnn.ENGINE_CLASSIC)
    net.setInput(batch)
    expected = reference(layers, batch)
    assert expected.std() > 0.01, "the reference tells nothing"
    np.testing.assert_allclose(net.forward()[:, 0], expected, atol=5e-6)


@pytest.mark.parametrize("size", [(0, 32), (33, 32), (32, 16)])
def test_sizes_that_need_rounding_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        build_graph({}, *size)


def test_every_layer_has_a_name() -> None:
    assert len(LAYERS) == len(set(LAYERS)) == 13 + 5 + 1
