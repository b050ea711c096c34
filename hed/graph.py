"""Builds the HED network as an ONNX graph from a table of weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hed.crop_plan import CropPlan

ConvLayer = tuple[NDArray[np.float32], NDArray[np.float32]]

# VGG-16 up to conv5_3: the convolutions of each block. A 2x2 max pooling separates blocks.
BLOCKS: tuple[tuple[str, ...], ...] = (
    ("conv1_1", "conv1_2"),
    ("conv2_1", "conv2_2"),
    ("conv3_1", "conv3_2", "conv3_3"),
    ("conv4_1", "conv4_2", "conv4_3"),
    ("conv5_1", "conv5_2", "conv5_3"),
)
SIDE_OUTPUTS: tuple[str, ...] = ("dsn1", "dsn2", "dsn3", "dsn4", "dsn5")
LAYERS: tuple[str, ...] = (
    *(name for block in BLOCKS for name in block),
    *SIDE_OUTPUTS,
    "fuse",
)


def build_graph(layers: Mapping[str, ConvLayer], plan: CropPlan) -> bytes:
    """Return the serialized ONNX model for pictures of one size.

    Follows Xie and Tu, "Holistically-Nested Edge Detection" (2015): five side outputs, each
    upsampled bilinearly to the input's size, fused by a 1x1 convolution, then a sigmoid. The size
    is fixed because OpenCV's ONNX importer needs declared shapes.

    Parameters
    ----------
    layers : mapping of str to (ndarray, ndarray)
        For every name in ``LAYERS`` its kernel (float32 O×I×H×W) and bias (float32 O).
    plan : CropPlan
        Sizes of input and output, and the crop of every layer.

    Returns
    -------
    bytes
        Input ``picture``: float32 (1, 3, plan.rows.input_size, plan.columns.input_size), BGR minus
        the mean. Output ``edges``: float32 (1, 1, plan.rows.output_size, plan.columns.output_size),
        probabilities in [0, 1].
    """
    rows, columns = plan.rows, plan.columns
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def add_constant(name: str, *values: int) -> str:
        constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def add_node(kind: str, sources: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, sources, [output], **attributes))
        return output

    def add_conv(name: str, source: str, *pads: int) -> str:
        for part, values in zip(("kernel", "bias"), layers[name], strict=True):
            constants.append(numpy_helper.from_array(values, f"{name}.{part}"))
        size = layers[name][0].shape[2:]
        sources = [source, f"{name}.kernel", f"{name}.bias"]
        return add_node("Conv", sources, name, kernel_shape=list(size), pads=list(pads or [0] * 4))

    def add_slice(source: str, top: int, left: int, height: int, width: int) -> str:
        output = f"{source}.cut"
        start = add_constant(f"{output}.start", top, left)
        stop = add_constant(f"{output}.stop", top + height, left + width)
        return add_node("Slice", [source, start, stop, "axes"], output)

    add_constant("axes", 2, 3)
    features, sides = "picture", []
    for level, (block, side) in enumerate(zip(BLOCKS, SIDE_OUTPUTS, strict=True)):
        if level:
            features = add_node(
                "MaxPool", [features], f"pool{level}", kernel_shape=[2, 2], strides=[2, 2]
            )
        for name, y, x in zip(
            block, rows.conv_paddings[level], columns.conv_paddings[level], strict=True
        ):
            pads = y.before, x.before, y.after, x.after
            features = add_node("Relu", [add_conv(name, features, *pads)], f"{name}.relu")
        (top, height, skip_y), (left, width, skip_x) = (
            rows.score_crops[level],
            columns.score_crops[level],
        )
        score = add_slice(add_conv(side, features), top, left, height, width)
        if level:
            full = add_constant(f"{side}.size", 1, 1, height << level, width << level)
            score = add_node(
                "Resize",
                [score, "", "", full],
                f"{side}.full",
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            )
            score = add_slice(score, skip_y, skip_x, rows.output_size, columns.output_size)
        sides.append(score)
    add_node("Concat", sides, "sides", axis=1)
    add_node("Sigmoid", [add_conv("fuse", "sides")], "edges")

    shapes = (
        [1, 3, rows.input_size, columns.input_size],
        [1, 1, rows.output_size, columns.output_size],
    )
    graph = helper.make_graph(
        nodes,
        "hed",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shapes[0])],
        [helper.make_tensor_value_info("edges", TensorProto.FLOAT, shapes[1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    serialized: bytes = model.SerializeToString()
    return serialized
