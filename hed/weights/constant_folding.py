"""Sizes that an ONNX network reckons out while it runs, reckoned out beforehand.

Exporters write an upsampling to the input's size as Shape, Gather, Concat and the like. Once the
input's size is fixed these are constants; ONNX's own inference knows the values of few of them,
and engines that want declared sizes know none.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

# What reckons with sizes. None of these makes many numbers of few: two that are broadcast against
# each other at most the square.
_RECKONING = (
    *("Add", "Cast", "Ceil", "Concat", "Constant", "Div", "Floor", "Gather", "Identity", "Mul"),
    *("ReduceProd", "Reshape", "Slice", "Squeeze", "Sub", "Unsqueeze"),
)
# Numbers in a tensor of sizes.
_MOST = 64
# A size may depend on one that was reckoned out of another; in HED one round does.
_ROUNDS = 16


def fold_sizes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with every tensor's size inferred, as far as that goes.

    Parameters
    ----------
    model : a network whose inputs have fixed sizes.

    Raises
    ------
    Exception
        Whatever ONNX's inference raises if the sizes do not fit each other.
    """
    for _ in range(_ROUNDS):
        # Not with its own propagation of values: that doubles them with every Concat of a tensor
        # with itself, up to all memory.
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        if not _fold(model):
            break
    return model


def _fold(model: onnx.ModelProto) -> bool:
    """Put constants in place of nodes whose values are known; tell whether there were any."""
    graph = model.graph
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info)
        if value.type.tensor_type.HasField("shape")
    }
    known = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if np.prod(tensor.dims) <= _MOST
    }
    kept = []
    for node in graph.node:
        values = _reckon(node, known, shapes, model)
        if values is None:
            kept.append(node)
        else:
            known[node.output[0]] = values
            graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
    folded = len(kept) < len(graph.node)
    del graph.node[:]
    graph.node.extend(kept)
    return folded


def _reckon(
    node: onnx.NodeProto,
    known: dict[str, NDArray[Any]],
    shapes: dict[str, list[int]],
    model: onnx.ModelProto,
) -> NDArray[Any] | None:
    names: list[str] = [name for name in node.input if name]
    given: dict[str, NDArray[Any]]
    if node.op_type == "Shape" and all(shapes.get(names[0], [0])):
        # Of that shape, without the memory.
        given = {names[0]: np.broadcast_to(np.float32(0), shapes[names[0]])}
    elif node.op_type in _RECKONING and all(name in known for name in names):
        given = {name: known[name] for name in names}
    else:
        return None
    inputs = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in given]
    output = helper.make_tensor_value_info(node.output[0], TensorProto.UNDEFINED, None)
    graph = helper.make_graph([node], "one", inputs, [output])
    try:
        one = helper.make_model(graph, opset_imports=model.opset_import)
        found: Any = ReferenceEvaluator(one).run(None, given)
        values = np.asarray(found[0])
    # What it cannot reckon is left to the engines.
    except Exception:
        return None
    return values if values.size <= _MOST else None
