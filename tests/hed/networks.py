"""Random layers, and reference implementations of the published networks in PyTorch, uncropped."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, interpolate, max_pool2d, relu

from hed.graph import BLOCKS, SIDE_OUTPUTS, ConvLayer
from hed.weights import HedWeights

Float32Array = NDArray[np.float32]
Layers = dict[str, ConvLayer]

VGG_CHANNELS = (64, 128, 256, 512, 512)
THIN_CHANNELS = (4, 8, 8, 16, 16)

MEAN_RGB = np.array([122.67891434, 116.66876762, 104.00698793])


def make_layers(seed: int, widths: tuple[int, ...] = VGG_CHANNELS) -> Layers:
    """Return random layers whose features keep their magnitude from layer to layer."""
    random = np.random.default_rng(seed)

    def draw(outputs: int, inputs: int, size: int, scale: float) -> ConvLayer:
        kernel = random.standard_normal((outputs, inputs, size, size), np.float32)
        kernel *= np.float32(scale / np.sqrt(inputs * size**2))
        return kernel, np.float32(0.1) * random.standard_normal(outputs, np.float32)

    layers, channels = {}, 3
    for block, side, width in zip(BLOCKS, SIDE_OUTPUTS, widths, strict=True):
        for name in block:
            # Input values range from -128 to 127.
            layers[name] = draw(width, channels, 3, 1 / 64 if channels == 3 else np.sqrt(2))
            channels = width
        layers[side] = draw(1, width, 1, 1)
    layers["fuse"] = draw(1, 5, 1, 2)
    return layers


def make_weights(layers: Layers) -> HedWeights:
    """Return layers as HedWeights with placeholder values for everything else."""
    return HedWeights("keras", "0" * 64, 0.5, layers)


def make_picture(seed: int, height: int, width: int) -> Float32Array:
    """Return a random picture minus some mean, float32 1×3×H×W."""
    random = np.random.default_rng(seed)
    return random.integers(-128, 128, (1, 3, height, width)).astype(np.float32)


def pad_reflect(
    picture: Float32Array, before: tuple[int, int], after: tuple[int, int]
) -> Float32Array:
    pads = [(0, 0), (0, 0), *zip(before, after, strict=True)]
    return np.pad(picture, pads, mode="reflect")


def run_same_padding(layers: Layers, batch: Float32Array) -> Float32Array:
    """HED with one pixel of padding everywhere and side outputs resized to its input: H×W."""
    features, sides = torch.from_numpy(batch), []
    for level, (block, side) in enumerate(zip(BLOCKS, SIDE_OUTPUTS, strict=True)):
        if level:
            features = max_pool2d(features, 2)
        for name in block:
            features = relu(_convolve(layers[name], features, 1))
        score = _convolve(layers[side], features)
        sides.append(interpolate(score, batch.shape[2:], mode="bilinear", align_corners=False))
    return _fuse(layers, sides)


def run_caffe(layers: Layers, batch: Float32Array) -> Float32Array:
    """The authors' deploy.prototxt: H×W.

    conv1_1 pads 35 px, poolings round up, fixed transposed convolutions upsample the side outputs,
    and a crop aligns each of them with the input.
    """
    height, width = batch.shape[2:]
    features, sides = torch.from_numpy(batch), []
    for level, (block, side) in enumerate(zip(BLOCKS, SIDE_OUTPUTS, strict=True)):
        if level:
            features = max_pool2d(features, 2, ceil_mode=True)
        for name in block:
            features = relu(_convolve(layers[name], features, 35 if name == "conv1_1" else 1))
        score, offset = _convolve(layers[side], features), 34
        if level:
            stride = 2**level
            kernel = torch.from_numpy(bilinear_kernel(stride))
            score, offset = conv_transpose2d(score, kernel, stride=stride), 34 + stride // 2
        sides.append(score[:, :, offset : offset + height, offset : offset + width])
    return _fuse(layers, sides)


def run_controlnet(state: dict[str, Tensor], picture: Float32Array) -> Float32Array:
    """ControlNetHED_Apache2 with its detector's last step: H×W. The picture is RGB, 0 to 255."""
    features, sides = torch.from_numpy(picture) - state["norm"].float(), []
    for b in range(1, 6):
        if b > 1:
            features = max_pool2d(features, 2)
        for i in range(2 if b < 3 else 3):
            key = f"block{b}.convs.{i}"
            kernel, bias = state[f"{key}.weight"].float(), state[f"{key}.bias"].float()
            features = relu(conv2d(features, kernel, bias, padding=1))
        key = f"block{b}.projection"
        score = conv2d(features, state[f"{key}.weight"].float(), state[f"{key}.bias"].float())
        sides.append(interpolate(score, picture.shape[2:], mode="bilinear", align_corners=False))
    edges: Float32Array = torch.sigmoid(torch.cat(sides, 1).mean(1))[0].numpy()
    return edges


def bilinear_kernel(stride: int) -> Float32Array:
    """Caffe's bilinear filler for a transposed convolution: 1×1×2s×2s."""
    size = 2 * stride
    ramp = [1 - abs(x / stride - (2 * stride - 1) / (2 * stride)) for x in range(size)]
    return np.outer(ramp, ramp).astype(np.float32).reshape(1, 1, size, size)


def _convolve(layer: ConvLayer, features: Tensor, padding: int = 0) -> Tensor:
    kernel, bias = (torch.from_numpy(values) for values in layer)
    return conv2d(features, kernel, bias, padding=padding)


def _fuse(layers: Layers, sides: list[Tensor]) -> Float32Array:
    edges: Float32Array = torch.sigmoid(_convolve(layers["fuse"], torch.cat(sides, 1)))[
        0, 0
    ].numpy()
    return edges


def detect_uncropped(layers: Layers, picture: NDArray[np.uint8], border: int) -> Float32Array:
    """Edges of a picture (uint8 H×W×3 RGB) by the uncropped network on the full border."""
    height, width = picture.shape[:2]
    pads = [(border, _padded_size(side, border) - side - border) for side in (height, width)]
    padded = np.pad(picture, [*pads, (0, 0)], mode="reflect")
    batch = (padded - MEAN_RGB).astype(np.float32)[..., ::-1].transpose(2, 0, 1)[np.newaxis]
    edges = run_same_padding(layers, np.ascontiguousarray(batch))
    return edges[border : border + height, border : border + width]


def _padded_size(side: int, border: int) -> int:
    rounded = (side + 2 * border) // 16 * 16
    return max(32, rounded if rounded >= side + border else rounded + 16)
