"""The HED network as an ONNX graph, made from a table of weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]

# VGG-16 up to conv5_3: the convolutions of each block; a 2x2 max pooling stands between blocks.
BLOCKS: tuple[tuple[str, ...], ...] = (
    ("conv1_1", "conv1_2"),
    ("conv2_1", "conv2_2"),
    ("conv3_1", "conv3_2", "conv3_3"),
    ("conv4_1", "conv4_2", "conv4_3"),
    ("conv5_1", "conv5_2", "conv5_3"),
)
SIDES: tuple[str, ...] = ("dsn1", "dsn2", "dsn3", "dsn4", "dsn5")
LAYERS: tuple[str, ...] = (
    *(name for block in BLOCKS for name in block),
    *SIDES,
    "fuse",
)

# Four poolings halve the picture: a size that divides by this needs no rounding anywhere.
STRIDE = 16
# With a single row or column left after them, OpenCV 5.0 resizes from memory that nobody wrote.
SMALLEST = 32


def build_graph(layers: Mapping[str, Layer], height: int, width: int) -> bytes:
    """Return the serialised ONNX model for pictures of one size.

    Follows Xie and Tu, "Holistically-Nested Edge Detection" (2015): five side outputs, each
    upsampled bilinearly to the input's size, fused by a 1x1 convolution, then a sigmoid. The size
    is fixed because OpenCV's ONNX importer needs declared shapes.

    Parameters
    ----------
    layers : for every name of ``LAYERS`` its kernel (float32 O×I×H×W) and bias (float32 O).
    height, width : input size in pixels, multiples of 16, at least 32.

    Returns
    -------
    bytes
        Input ``picture`` float32 (1, 3, height, width), BGR minus the mean; output ``edges``
        float32 (1, 1, height, width), probabilities in [0, 1].

    Raises
    ------
    ValueError
        If a size is not such a multiple.
    """
    if min(height, width) < SMALLEST or height % STRIDE or width % STRIDE:
        raise ValueError(
            f"height and width must be multiples of {STRIDE} from {SMALLEST} on, "
            f"got {height}x{width}"
        )
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = [
        numpy_helper.from_array(np.array([1, 1, height, width], np.int64), "full_size")
    ]

    def convolve(name: str, source: str) -> str:
        kernel, bias = layers[name]
        constants.append(numpy_helper.from_array(kernel, f"{name}.kernel"))
        constants.append(numpy_helper.from_array(bias, f"{name}.bias"))
        pad = kernel.shape[2] // 2
        nodes.append(
            helper.make_node(
                "Conv",
                [source, f"{name}.kernel", f"{name}.bias"],
                [name],
                kernel_shape=list(kernel.shape[2:]),
                pads=[pad] * 4,
            )
        )
        return name

    def apply(kind: str, source: str, output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, [source], [output], **attributes))
        return output

    features, sides = "picture", []
    for index, (block, side) in enumerate(zip(BLOCKS, SIDES, strict=True)):
        if index:
            features = apply(
                "MaxPool", features, f"pool{index}", kernel_shape=[2, 2], strides=[2, 2]
            )
        for name in block:
            features = apply("Relu", convolve(name, features), f"{name}.relu")
        score = convolve(side, features)
        if index:
            nodes.append(
                helper.make_node(
                    "Resize",
                    [score, "", "", "full_size"],
                    [f"{side}.full"],
                    mode="linear",
                    coordinate_transformation_mode="half_pixel",
                )
            )
            score = f"{side}.full"
        sides.append(score)
    nodes.append(helper.make_node("Concat", sides, ["sides"], axis=1))
    apply("Sigmoid", convolve("fuse", "sides"), "edges")

    graph = helper.make_graph(
        nodes,
        "hed",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, height, width])],
        [helper.make_tensor_value_info("edges", TensorProto.FLOAT, [1, 1, height, width])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised
