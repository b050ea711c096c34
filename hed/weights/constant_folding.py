"""Constant folding of the shape computations in an ONNX network.

Exporters write an upsampling to the input's size as Shape, Gather, Concat and similar nodes. Once
the input's size is fixed their values are constant. ONNX's own inference evaluates few of them,
and engines that need declared shapes evaluate none.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

# Operators of shape computations. None of them turns small tensors into a large one: broadcasting
# two tensors gives at most the square of their size.
SHAPE_OPS = (
    *("Add", "Cast", "Ceil", "Concat", "Constant", "Div", "Floor", "Gather", "Identity", "Mul"),
    *("ReduceProd", "Reshape", "Slice", "Squeeze", "Sub", "Unsqueeze"),
)
# Maximum number of elements in a shape tensor.
_MAX_ELEMENTS = 64
# A shape may depend on another one that was folded before. HED needs one round.
_MAX_ROUNDS = 16


def fold_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Infer the shape of every tensor, as far as possible, and fold constant shape nodes.

    Parameters
    ----------
    model : onnx.ModelProto
        A network whose inputs have fixed shapes.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    Exception
        Whatever ONNX's shape inference raises if the shapes are inconsistent.
    """
    for _ in range(_MAX_ROUNDS):
        # Without ONNX's own data propagation: there, every Concat of a tensor with itself doubles
        # the data, up to all memory.
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        if not _fold_once(model):
            break
    return model


def _fold_once(model: onnx.ModelProto) -> bool:
    """Replace nodes with known values by constants; return whether any node was replaced."""
    graph = model.graph
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info)
        if value.type.tensor_type.HasField("shape")
    }
    constants = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if np.prod(tensor.dims) <= _MAX_ELEMENTS
    }
    remaining = []
    for node in graph.node:
        values = _evaluate_node(node, constants, shapes, model)
        if values is None:
            remaining.append(node)
        else:
            constants[node.output[0]] = values
            graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
    folded = len(remaining) < len(graph.node)
    del graph.node[:]
    graph.node.extend(remaining)
    return folded


def _evaluate_node(
    node: onnx.NodeProto,
    constants: dict[str, NDArray[Any]],
    shapes: dict[str, list[int]],
    model: onnx.ModelProto,
) -> NDArray[Any] | None:
    """Return the value of a shape node, or None if it is unknown or too large."""
    names: list[str] = [name for name in node.input if name]
    inputs: dict[str, NDArray[Any]]
    if node.op_type == "Shape" and all(shapes.get(names[0], [0])):
        # Has the shape without allocating the memory.
        inputs = {names[0]: np.broadcast_to(np.float32(0), shapes[names[0]])}
    elif node.op_type in SHAPE_OPS and all(name in constants for name in names):
        inputs = {name: constants[name] for name in names}
    else:
        return None
    value_infos = [
        helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in inputs
    ]
    output = helper.make_tensor_value_info(node.output[0], TensorProto.UNDEFINED, None)
    graph = helper.make_graph([node], "one", value_infos, [output])
    try:
        single_node_model = helper.make_model(graph, opset_imports=model.opset_import)
        outputs: Any = ReferenceEvaluator(single_node_model).run(None, inputs)
        values = np.asarray(outputs[0])
    # A node that cannot be evaluated is left to the engines.
    except Exception:
        return None
    return values if values.size <= _MAX_ELEMENTS else None
