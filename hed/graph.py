"""The HED network as an ONNX graph, made from a table of weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hed.crop_plan import Plan

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


def build_graph(layers: Mapping[str, Layer], plan: Plan) -> bytes:
    """Return the serialised ONNX model for pictures of one size.

    Follows Xie and Tu, "Holistically-Nested Edge Detection" (2015): five side outputs, each
    upsampled bilinearly to the input's size, fused by a 1x1 convolution, then a sigmoid. The size
    is fixed because OpenCV's ONNX importer needs declared shapes.

    Parameters
    ----------
    layers : for every name of ``LAYERS`` its kernel (float32 O×I×H×W) and bias (float32 O).
    plan : the picture's size with what of its border is needed.

    Returns
    -------
    bytes
        Input ``picture`` float32 (1, 3, plan.rows.input, plan.columns.input), BGR minus the mean;
        output ``edges`` float32 (1, 1, plan.rows.side, plan.columns.side), probabilities in [0, 1]
        of the pixels within the border.
    """
    rows, columns = plan.rows, plan.columns
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []

    def constant(name: str, *values: int) -> str:
        constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def apply(kind: str, sources: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, sources, [output], **attributes))
        return output

    def convolve(name: str, source: str, *pads: int) -> str:
        for part, values in zip(("kernel", "bias"), layers[name], strict=True):
            constants.append(numpy_helper.from_array(values, f"{name}.{part}"))
        size = layers[name][0].shape[2:]
        sources = [source, f"{name}.kernel", f"{name}.bias"]
        return apply("Conv", sources, name, kernel_shape=list(size), pads=list(pads or [0] * 4))

    def cut(source: str, top: int, left: int, height: int, width: int) -> str:
        output = f"{source}.cut"
        start = constant(f"{output}.start", top, left)
        stop = constant(f"{output}.stop", top + height, left + width)
        return apply("Slice", [source, start, stop, "axes"], output)

    constant("axes", 2, 3)
    features, sides = "picture", []
    for level, (block, side) in enumerate(zip(BLOCKS, SIDES, strict=True)):
        if level:
            features = apply(
                "MaxPool", [features], f"pool{level}", kernel_shape=[2, 2], strides=[2, 2]
            )
        for name, y, x in zip(block, rows.blocks[level], columns.blocks[level], strict=True):
            pads = y.before, x.before, y.after, x.after
            features = apply("Relu", [convolve(name, features, *pads)], f"{name}.relu")
        (top, height, skip_y), (left, width, skip_x) = rows.scores[level], columns.scores[level]
        score = cut(convolve(side, features), top, left, height, width)
        if level:
            full = constant(f"{side}.size", 1, 1, height << level, width << level)
            score = apply(
                "Resize",
                [score, "", "", full],
                f"{side}.full",
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            )
            score = cut(score, skip_y, skip_x, rows.side, columns.side)
        sides.append(score)
    apply("Concat", sides, "sides", axis=1)
    apply("Sigmoid", [convolve("fuse", "sides")], "edges")

    shapes = [1, 3, rows.input, columns.input], [1, 1, rows.side, columns.side]
    graph = helper.make_graph(
        nodes,
        "hed",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shapes[0])],
        [helper.make_tensor_value_info("edges", TensorProto.FLOAT, shapes[1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised
