"""Writers for each published weights format, independent of the readers."""

import io
import struct
from collections import OrderedDict
from typing import Any

import h5py
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from hed.graph import BLOCKS, SIDE_OUTPUTS
from tests.hed.networks import Float32Array, Layers, bilinear_kernel

NORM = (123.5, 117.25, 104.75)


def write_keras(layers: Layers) -> bytes:
    """Write as Keras 3's ``save_weights`` does: kernels H×W×I×O."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, (kernel, bias) in layers.items():
            file[f"{keras_path(name)}/0"] = kernel.transpose(2, 3, 1, 0)
            file[f"{keras_path(name)}/1"] = bias
    return buffer.getvalue()


def keras_path(name: str) -> str:
    if not name.startswith("conv"):
        return f"{name}/vars"
    block, index = name[4], int(name[6])
    return f"block{block}/layers/conv2d" + (f"_{index - 1}" if index > 1 else "") + "/vars"


def write_caffe(
    layers: Layers, *, legacy: bool = False, upsampling: dict[int, Float32Array] | None = None
) -> bytes:
    """Write a caffemodel, byte by byte.

    ``legacy`` writes Caffe's V1 format: layers in field 2, blobs with four dimensions and no shape.
    """
    names = {name: name for block in BLOCKS for name in block}
    names |= {side: f"score-{side}" for side in SIDE_OUTPUTS} | {"fuse": "new-score-weighting"}
    kernels = {s: bilinear_kernel(s) for s in (2, 4, 8, 16)} if upsampling is None else upsampling
    entries: list[tuple[str, str, int, tuple[Float32Array, ...]]] = [("relu1_1", "ReLU", 18, ())]
    entries += [(names[name], "Convolution", 4, layer) for name, layer in layers.items()]
    entries += [
        (f"upsample_{s}", "Deconvolution", 39, (kernel, np.zeros(1, np.float32)))
        for s, kernel in kernels.items()
    ]
    parts = [_encode_field(1, b"FCN")]
    for name, kind, number, arrays in entries:
        if legacy:
            body = [_encode_field(6, _encode_blob(array, legacy)) for array in arrays]
            body += [
                _encode_field(2, b"bottom"),
                _encode_field(4, name.encode()),
                _encode_int_field(5, number),
            ]
            parts.append(_encode_field(2, b"".join(body)))
        else:
            body = [
                _encode_field(1, name.encode()),
                _encode_field(2, kind.encode()),
                _encode_field(3, b"bottom"),
            ]
            body += [_encode_field(7, _encode_blob(array, legacy)) for array in arrays]
            parts.append(_encode_field(100, b"".join(body)))
    return b"".join(parts)


def _encode_blob(array: Float32Array, legacy: bool) -> bytes:
    data = _encode_field(5, array.astype("<f4").tobytes())
    if legacy:
        dims = (1,) * (4 - array.ndim) + array.shape
        return b"".join(_encode_int_field(field, side) for field, side in enumerate(dims, 1)) + data
    return data + _encode_field(
        7, _encode_field(1, b"".join(_encode_varint(side) for side in array.shape))
    )


def _encode_field(field: int, body: bytes) -> bytes:
    return _encode_varint(field << 3 | 2) + _encode_varint(len(body)) + body


def _encode_int_field(field: int, value: int) -> bytes:
    return _encode_varint(field << 3) + _encode_varint(value)


def _encode_varint(value: int) -> bytes:
    groups = []
    while True:
        value, group = value >> 7, value & 127
        groups.append(group | (128 if value else 0))
        if not value:
            return struct.pack(f"{len(groups)}B", *groups)


def write_torch(state: Any, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def niklaus_state(layers: Layers, prefix: str = "net") -> "OrderedDict[str, torch.Tensor]":
    """Return a state dict with the keys of network-bsds500.pytorch; older files use ``module``."""
    keys = {
        "conv1_1": "VggOne.0",
        "conv1_2": "VggOne.2",
        "conv2_1": "VggTwo.1",
        "conv2_2": "VggTwo.3",
        "conv3_1": "VggThr.1",
        "conv3_2": "VggThr.3",
        "conv3_3": "VggThr.5",
        "conv4_1": "VggFou.1",
        "conv4_2": "VggFou.3",
        "conv4_3": "VggFou.5",
        "conv5_1": "VggFiv.1",
        "conv5_2": "VggFiv.3",
        "conv5_3": "VggFiv.5",
        "dsn1": "ScoreOne",
        "dsn2": "ScoreTwo",
        "dsn3": "ScoreThr",
        "dsn4": "ScoreFou",
        "dsn5": "ScoreFiv",
        "fuse": "Combine.0",
    }
    return _state({name: prefix + key for name, key in keys.items()}, layers)


def controlnet_state(
    layers: Layers, dtype: torch.dtype = torch.float32
) -> "OrderedDict[str, torch.Tensor]":
    """Return a state dict with the keys of ControlNetHED.pth."""
    keys: dict[str, str] = {}
    for b, (block, side) in enumerate(zip(BLOCKS, SIDE_OUTPUTS, strict=True), start=1):
        keys |= {name: f"block{b}.convs.{i}" for i, name in enumerate(block)}
        keys[side] = f"block{b}.projection"
    state = _state(keys, layers)
    state["norm"] = torch.tensor(NORM).reshape(1, 3, 1, 1)
    return OrderedDict((key, value.to(dtype)) for key, value in state.items())


def _state(keys: dict[str, str], layers: Layers) -> "OrderedDict[str, torch.Tensor]":
    state: OrderedDict[str, torch.Tensor] = OrderedDict()
    for name, key in keys.items():
        for part, values in zip(("weight", "bias"), layers[name], strict=True):
            state[f"{key}.{part}"] = torch.from_numpy(values)
    return state


CUSTOM_KERNELS = {
    "fine": (4, 3, 3),
    "coarse": (4, 4, 3),
    "fine.score": (1, 4, 1),
    "coarse.score": (1, 4, 1),
}


def custom_kernels(seed: int = 0) -> dict[str, Float32Array]:
    random = np.random.default_rng(seed)
    return {
        name: random.standard_normal((outputs, inputs, size, size), np.float32)
        / np.float32(np.sqrt(inputs) * size * (50 if inputs == 3 else 1))
        for name, (outputs, inputs, size) in CUSTOM_KERNELS.items()
    }


def make_custom_network(
    kernels: dict[str, Float32Array] | None = None,
    *,
    inputs: tuple[Any, ...] = (("photo", ("n", 3, "height", "width")),),
    output: tuple[Any, ...] = ("n", 1, "height", "width"),
    scale: float = 1.0,
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Return a small detector with two side outputs, as exporters write it: sizes come from Shape.

    Its output is called ``edges``, which collides with the name that we add. With a scale other
    than 1 the output does not have the size of the input.
    """
    kernels = custom_kernels() if kernels is None else kernels
    padding: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1] * 4}
    first = inputs[0][0]
    nodes = [
        helper.make_node("Conv", [first, "fine"], ["a"], **padding),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["c", "coarse"], ["d"], **padding),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("Conv", ["b", "fine.score"], ["f"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["e", "coarse.score"], ["g"], kernel_shape=[1, 1]),
        helper.make_node("Shape", [first], ["shape"]),
        helper.make_node("Slice", ["shape", "two", "four"], ["size"]),
        helper.make_node("Concat", ["ones", "size"], ["full"], axis=0),
        helper.make_node("Resize", ["g", "", "", "full"], ["h"], mode="linear"),
        helper.make_node("Add", ["f", "h"], ["i"]),
        helper.make_node("Sigmoid", ["i"], ["edges" if scale == 1 else "j"]),
    ]
    constants = {
        **kernels,
        "two": np.array([2]),
        "four": np.array([4]),
        "ones": np.array([1, 1]),
    }
    if scale != 1:
        constants["scales"] = np.array([1, 1, scale, scale], np.float32)
        nodes.append(helper.make_node("Resize", ["j", "", "scales"], ["edges"], mode="linear"))
    graph = helper.make_graph(
        nodes,
        "own",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs],
        [helper.make_tensor_value_info("edges", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def make_fast_network() -> onnx.ModelProto:
    """Return a network that is 1,000 times faster than HED and detects steep edges.

    For tests in which the exact edges do not matter.
    """
    steep = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32) / 12
    slopes = np.stack([steep, -steep, steep.T, -steep.T])
    constants: dict[str, Float32Array] = {
        "slopes": np.repeat(slopes[:, np.newaxis], 3, axis=1),
        "sum": np.full((1, 4, 1, 1), 0.1, np.float32),
        "least": np.array([-3], np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["photo", "slopes"], ["a"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "sum", "least"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("Sigmoid", ["c"], ["edges"]),
    ]
    shapes = {"photo": ("n", 3, "height", "width"), "edges": ("n", 1, "height", "width")}
    photo, edges = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
    parts = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "quick", [photo], [edges], parts)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
