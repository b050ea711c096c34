"""HED written a second time, in PyTorch and without a plan; and small tables of its layers."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import conv2d, interpolate, max_pool2d, relu

from hed.graph import BLOCKS, SIDES, Layer
from hed.weights import Weights

MEAN_RGB = np.array([122.67891434, 116.66876762, 104.00698793])


def random_table(seed: int = 0, width: int = 3) -> dict[str, Layer]:
    """Layers with so few channels that a network takes no time; every block counts."""
    random = np.random.default_rng(seed)
    layers: dict[str, Layer] = {}
    channels = 3
    for block, side in zip(BLOCKS, SIDES, strict=True):
        for name in block:
            scale = 1.5 / np.sqrt(9 * channels)
            kernel = random.normal(0, scale, (width, channels, 3, 3)).astype(np.float32)
            layers[name] = kernel, random.normal(0, 0.5, width).astype(np.float32)
            channels = width
        layers[side] = (
            random.normal(0, 0.02, (1, width, 1, 1)).astype(np.float32),
            np.zeros(1, np.float32),
        )
    layers["fuse"] = np.ones((1, 5, 1, 1), np.float32), np.zeros(1, np.float32)
    return layers


def as_weights(layers: Mapping[str, Layer]) -> Weights:
    return Weights(form="keras", digest="0" * 64, threshold=0.5, layers=layers, model=None)


def whole_network(layers: Mapping[str, Layer], batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every layer whole, zeros beyond its border: float32 (N, 3, H, W) to (N, H, W)."""

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


def detect_whole(
    layers: Mapping[str, Layer], picture: NDArray[np.uint8], border: int
) -> NDArray[np.float32]:
    """The edges of a picture (uint8 H×W×3 RGB) by the whole network on the whole border."""
    height, width = picture.shape[:2]
    pads = [(border, _whole(side, border) - side - border) for side in (height, width)]
    padded = np.pad(picture, [*pads, (0, 0)], mode="reflect")
    batch = (padded - MEAN_RGB).astype(np.float32)[..., ::-1].transpose(2, 0, 1)[np.newaxis]
    edges = whole_network(layers, np.ascontiguousarray(batch))[0]
    result: NDArray[np.float32] = edges[border : border + height, border : border + width]
    return result


def _whole(side: int, border: int) -> int:
    whole = (side + 2 * border) // 16 * 16
    return max(32, whole if whole >= side + border else whole + 16)
