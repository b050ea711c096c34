import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hed.weights.constant_folding import fold_shapes


def make_model(nodes: list[onnx.NodeProto], **constants: list[int]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "sizes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(v, np.int64), name) for name, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def output_shape(model: onnx.ModelProto) -> list[int]:
    return [side.dim_value for side in model.graph.output[0].type.tensor_type.shape.dim]


def test_dependent_shapes_are_folded() -> None:
    """The second Resize's size is known only once the first one's is."""
    model = make_model(
        [
            helper.make_node("Shape", ["x"], ["a"]),
            helper.make_node("Mul", ["a", "twice"], ["b"]),
            helper.make_node("Resize", ["x", "", "", "b"], ["c"]),
            helper.make_node("Shape", ["c"], ["d"]),
            helper.make_node("Gather", ["d", "last"], ["e"]),
            helper.make_node("Concat", ["ones", "e", "e"], ["f"], axis=0),
            helper.make_node("Resize", ["c", "", "", "f"], ["y"]),
        ],
        twice=[1, 1, 2, 2],
        last=[3],
        ones=[1, 1],
    )
    folded = fold_shapes(model)
    assert output_shape(folded) == [1, 1, 12, 12]
    assert [node.op_type for node in folded.graph.node] == ["Resize", "Resize"]
    onnx.checker.check_model(folded, full_check=True)


def test_data_dependent_nodes_are_kept() -> None:
    model = make_model(
        [
            helper.make_node("Add", ["x", "x"], ["a"]),
            helper.make_node("NonZero", ["a"], ["b"]),
            helper.make_node("Shape", ["b"], ["c"]),
            helper.make_node("Cast", ["c"], ["y"], to=TensorProto.FLOAT),
        ]
    )
    assert len(fold_shapes(model).graph.node) == 4


def test_large_tensors_are_not_folded() -> None:
    """Each Concat doubles the number of elements."""
    nodes = [helper.make_node("Shape", ["x"], ["s0"])]
    nodes += [
        helper.make_node("Concat", [f"s{i}", f"s{i}"], [f"s{i + 1}"], axis=0) for i in range(30)
    ]
    nodes.append(helper.make_node("Cast", ["s30"], ["y"], to=TensorProto.FLOAT))
    folded = fold_shapes(make_model(nodes))
    assert max(np.prod(tensor.dims) for tensor in folded.graph.initializer) == 64
    assert len(folded.graph.node) == 27


def test_inconsistent_shapes_raise() -> None:
    model = make_model([helper.make_node("Concat", ["x", "wrong"], ["y"], axis=0)], wrong=[5, 5])
    with pytest.raises(onnx.shape_inference.InferenceError):
        fold_shapes(model)
