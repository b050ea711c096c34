from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn.functional import conv2d, interpolate, max_pool2d, relu

from config.errors import InputError
from hed.crop_plan import CropPlan
from hed.weights import load_weights
from hed.weights.onnx_model import fix_input_size, plan_uncropped_axis
from tests.hed.networks import Float32Array, make_picture, pad_reflect
from tests.hed.weights.conftest import LoadError
from tests.hed.weights.files import custom_kernels, make_custom_network


def run_reference(kernels: dict[str, Float32Array], picture: Float32Array) -> Float32Array:
    """The network of ``make_custom_network`` in PyTorch: H×W."""
    k = {name: torch.from_numpy(kernel) for name, kernel in kernels.items()}
    fine = relu(conv2d(torch.from_numpy(picture), k["fine"], padding=1))
    coarse = relu(conv2d(max_pool2d(fine, 2), k["coarse"], padding=1))
    size = picture.shape[2:]
    side = interpolate(conv2d(coarse, k["coarse.score"]), size, mode="bilinear")
    edges: Float32Array = torch.sigmoid(conv2d(fine, k["fine.score"]) + side)[0, 0].numpy()
    return edges


@pytest.mark.parametrize(("height", "width", "border"), [(40, 56, 0), (37, 64, 20), (3, 2, 1)])
def test_custom_network_equals_reference(
    weights_files: dict[str, Path], height: int, width: int, border: int
) -> None:
    weights = load_weights(weights_files["custom.onnx"])
    assert (weights.format, weights.threshold, weights.layers) == ("onnx", None, None)
    plan = weights.plan_crop(height, width, border)
    rows, columns = plan.rows, plan.columns
    picture = make_picture(height, height, width)
    padded = pad_reflect(
        picture, (rows.pad_before, columns.pad_before), (rows.pad_after, columns.pad_after)
    )
    net = cv2.dnn.readNetFromONNX(
        np.frombuffer(weights.build_onnx(plan), np.uint8), engine=cv2.dnn.ENGINE_CLASSIC
    )
    net.setInput(padded)
    expected = run_reference(custom_kernels(), padded)
    expected = expected[border : border + height, border : border + width]
    assert expected.std() > 0.02, "the reference output is constant"
    np.testing.assert_allclose(net.forward()[0, 0], expected, atol=1e-5)


class ExportedNetwork(torch.nn.Module):
    """The network of ``make_custom_network`` as a PyTorch module."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = {name: torch.from_numpy(k) for name, k in custom_kernels().items()}

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        k = self.kernels
        fine = relu(conv2d(picture, k["fine"], padding=1))
        coarse = relu(conv2d(max_pool2d(fine, 2), k["coarse"], padding=1))
        score = conv2d(fine, k["fine.score"])
        # The size is read from another tensor, as in the published HED programs.
        side = interpolate(
            conv2d(coarse, k["coarse.score"]),
            size=(score.shape[2], score.shape[3]),
            mode="bilinear",
            align_corners=False,
        )
        return torch.sigmoid(score + side)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opset", [11, 17])
def test_pytorch_export_is_accepted(opset: int, tmp_path: Path) -> None:
    path = tmp_path / "exported.onnx"
    sides = {2: "height", 3: "width"}
    torch.onnx.export(
        ExportedNetwork(),
        (torch.zeros(1, 3, 64, 96),),
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=["picture"],
        output_names=["edges"],
        dynamic_axes={"picture": sides, "edges": sides},
    )
    weights = load_weights(path)
    plan = weights.plan_crop(30, 50, 9)
    picture = make_picture(0, plan.rows.input_size, plan.columns.input_size)
    net = cv2.dnn.readNetFromONNX(
        np.frombuffer(weights.build_onnx(plan), np.uint8), engine=cv2.dnn.ENGINE_CLASSIC
    )
    net.setInput(picture)
    expected = run_reference(custom_kernels(), picture)[9:39, 9:59]
    np.testing.assert_allclose(net.forward()[0, 0], expected, atol=1e-5)


def test_shapes_are_declared_and_names_are_unique() -> None:
    plan = plan_uncropped_axis(40, 8)
    fixed = fix_input_size(make_custom_network().SerializeToString(), CropPlan(plan, plan), "it")
    model = onnx.load_from_string(fixed)
    onnx.checker.check_model(model, full_check=True)
    assert [end.name for end in (*model.graph.input, *model.graph.output)] == [
        "custom.photo",
        "edges",
    ]
    declared = {value.name: value.type.tensor_type.shape.dim for value in model.graph.value_info}
    for node in model.graph.node[:-1]:
        for name in node.output:
            assert all(side.dim_value for side in declared[name]), name


def corrupt(change: Callable[[onnx.ModelProto], object]) -> bytes:
    model = make_custom_network()
    change(model)
    content: bytes = model.SerializeToString()
    return content


def store_externally(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")


def nest_external_tensor(model: onnx.ModelProto) -> None:
    """Put a tensor with external data in a branch of an If node."""
    tensor = helper.make_tensor("deep", TensorProto.FLOAT, [1], [0.0])
    tensor.external_data.add(key="location", value="/etc/hostname")
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["x"], value=tensor)],
        "branch",
        [],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
    )
    model.graph.node.append(
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
    )


def declare_too_many_values(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 1 << 40


def insert_nan(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def use_foreign_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def define_function(model: onnx.ModelProto) -> None:
    model.functions.append(
        helper.make_function("x", "f", ["a"], ["a"], [], [helper.make_opsetid("", 13)])
    )


def lower_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 9


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "nothing"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (store_externally, "stores fine in another file"),
        (nest_external_tensor, "stores deep in another file"),
        (declare_too_many_values, "the data of fine does not match"),
        (insert_nan, "contains NaN in fine"),
        (use_foreign_operator, "uses Relu of com.example"),
        (define_function, "defines the function f"),
        (lower_opset, "opset 9"),
        (rename_input, "is not valid"),
    ],
)
def test_unsupported_model_is_rejected(
    change: Callable[[onnx.ModelProto], object], words: str, error_for: LoadError
) -> None:
    assert words in error_for(corrupt(change), "custom.onnx")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            make_custom_network(
                inputs=(("photo", ("n", 3, "h", "w")), ("more", ("n", 1, "h", "w")))
            ),
            "has 2 inputs and 1 outputs",
        ),
        (
            make_custom_network(inputs=(("photo", (1, 3, 64, 64)),), output=(1, 1, 64, 64)),
            "has a fixed size: its input is 1×3×64×64",
        ),
        (make_custom_network(inputs=(("photo", ("n", 1, "h", "w")),)), "has an input of ?×1×?×?"),
        (make_custom_network(inputs=(("photo", (4, 3, "h", "w")),)), "has an input of 4×3×?×?"),
        (make_custom_network(output=("n", 2, "h", "w")), "has an output of ?×2×?×?"),
        (make_custom_network(scale=0.5), "outputs 1×1×16×24 for an input of 32×48 px"),
        (make_custom_network(kind=TensorProto.DOUBLE), "has an input that is not float32"),
    ],
    ids=["inputs", "fixed", "gray", "batch", "channels", "half", "double"],
)
def test_wrong_input_or_output_is_rejected(
    model: onnx.ModelProto, words: str, error_for: LoadError
) -> None:
    line = error_for(model.SerializeToString(), "custom.onnx")
    assert words in line
    assert "height and width dynamic" in line


def test_initializers_among_inputs_are_ignored(tmp_path: Path) -> None:
    """Older exporters list initializers among the inputs."""
    model = make_custom_network()
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    path = tmp_path / "custom.onnx"
    onnx.save(model, path)
    assert load_weights(path).model == path.read_bytes()


def test_unsupported_size_raises_when_built(weights_files: dict[str, Path]) -> None:
    weights = load_weights(weights_files["custom.onnx"])
    plan = weights.plan_crop(64, 64, 0)
    half = type(weights)(
        "onnx", "ab" * 32, None, model=make_custom_network(scale=0.5).SerializeToString()
    )
    with pytest.raises(
        InputError, match=r"abababababab… outputs 1×1×32×32 for an input of 64×64 px"
    ):
        half.build_onnx(plan)
