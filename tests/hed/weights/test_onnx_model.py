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
from hed.crop_plan import Plan
from hed.weights import load_weights
from hed.weights.onnx_model import fix_size, plan_whole
from tests.hed.networks import Map, make_picture, reflect
from tests.hed.weights.conftest import Refuse
from tests.hed.weights.files import make_own, own_kernels


def reference(kernels: dict[str, Map], picture: Map) -> Map:
    """The network of ``make_own``: H×W."""
    k = {name: torch.from_numpy(kernel) for name, kernel in kernels.items()}
    fine = relu(conv2d(torch.from_numpy(picture), k["fine"], padding=1))
    coarse = relu(conv2d(max_pool2d(fine, 2), k["coarse"], padding=1))
    size = picture.shape[2:]
    side = interpolate(conv2d(coarse, k["coarse.score"]), size, mode="bilinear")
    edges: Map = torch.sigmoid(conv2d(fine, k["fine.score"]) + side)[0, 0].numpy()
    return edges


@pytest.mark.parametrize(("height", "width", "border"), [(40, 56, 0), (37, 64, 20), (3, 2, 1)])
def test_an_own_network_gives_what_it_gives(
    forms: dict[str, Path], height: int, width: int, border: int
) -> None:
    weights = load_weights(forms["own.onnx"])
    assert (weights.form, weights.threshold, weights.layers) == ("onnx", None, None)
    plan = weights.plan(height, width, border)
    rows, columns = plan.rows, plan.columns
    picture = make_picture(height, height, width)
    whole = reflect(picture, (rows.before, columns.before), (rows.after, columns.after))
    net = cv2.dnn.readNetFromONNX(
        np.frombuffer(weights.graph(plan), np.uint8), engine=cv2.dnn.ENGINE_CLASSIC
    )
    net.setInput(whole)
    expected = reference(own_kernels(), whole)
    expected = expected[border : border + height, border : border + width]
    assert expected.std() > 0.02, "the network tells nothing"
    np.testing.assert_allclose(net.forward()[0, 0], expected, atol=1e-5)


class Exported(torch.nn.Module):
    """The network of ``make_own`` once more, with the weights' names in PyTorch's way."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = {name: torch.from_numpy(k) for name, k in own_kernels().items()}

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        k = self.kernels
        fine = relu(conv2d(picture, k["fine"], padding=1))
        coarse = relu(conv2d(max_pool2d(fine, 2), k["coarse"], padding=1))
        score = conv2d(fine, k["fine.score"])
        # Its size asked of another tensor, as the published HED programs do.
        side = interpolate(
            conv2d(coarse, k["coarse.score"]),
            size=(score.shape[2], score.shape[3]),
            mode="bilinear",
            align_corners=False,
        )
        return torch.sigmoid(score + side)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opset", [11, 17])
def test_what_pytorch_exports_is_taken(opset: int, tmp_path: Path) -> None:
    path = tmp_path / "exported.onnx"
    sides = {2: "height", 3: "width"}
    torch.onnx.export(
        Exported(),
        (torch.zeros(1, 3, 64, 96),),
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=["picture"],
        output_names=["edges"],
        dynamic_axes={"picture": sides, "edges": sides},
    )
    weights = load_weights(path)
    plan = weights.plan(30, 50, 9)
    picture = make_picture(0, plan.rows.input, plan.columns.input)
    net = cv2.dnn.readNetFromONNX(
        np.frombuffer(weights.graph(plan), np.uint8), engine=cv2.dnn.ENGINE_CLASSIC
    )
    net.setInput(picture)
    expected = reference(own_kernels(), picture)[9:39, 9:59]
    np.testing.assert_allclose(net.forward()[0, 0], expected, atol=1e-5)


def test_sizes_are_declared_and_names_do_not_meet() -> None:
    plan = plan_whole(40, 8)
    fixed = fix_size(make_own().SerializeToString(), Plan(plan, plan), "it")
    model = onnx.load_from_string(fixed)
    onnx.checker.check_model(model, full_check=True)
    assert [end.name for end in (*model.graph.input, *model.graph.output)] == ["own.photo", "edges"]
    declared = {value.name: value.type.tensor_type.shape.dim for value in model.graph.value_info}
    for node in model.graph.node[:-1]:
        for name in node.output:
            assert all(side.dim_value for side in declared[name]), name


def spoil(change: Callable[[onnx.ModelProto], object]) -> bytes:
    model = make_own()
    change(model)
    content: bytes = model.SerializeToString()
    return content


def keep_outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")


def nest_outside(model: onnx.ModelProto) -> None:
    """The same, within a branch of an If."""
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


def hold_less(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 1 << 40


def hold_nan(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def call_foreign(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def define_function(model: onnx.ModelProto) -> None:
    model.functions.append(
        helper.make_function("x", "f", ["a"], ["a"], [], [helper.make_opsetid("", 13)])
    )


def age(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 9


def break_order(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "nothing"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (keep_outside, "keeps fine in another file"),
        (nest_outside, "keeps deep in another file"),
        (hold_less, "fine holds other than it declares"),
        (hold_nan, "holds NaN in fine"),
        (call_foreign, "uses Relu of com.example"),
        (define_function, "defines the function f"),
        (age, "opset 9"),
        (break_order, "is not valid"),
    ],
)
def test_what_no_engine_should_be_given_is_refused(
    change: Callable[[onnx.ModelProto], object], words: str, refuse: Refuse
) -> None:
    assert words in refuse(spoil(change), "own.onnx")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            make_own(inputs=(("photo", ("n", 3, "h", "w")), ("more", ("n", 1, "h", "w")))),
            "has 2 inputs and 1 outputs",
        ),
        (
            make_own(inputs=(("photo", (1, 3, 64, 64)),), output=(1, 1, 64, 64)),
            "is made for one size, its input is 1×3×64×64",
        ),
        (make_own(inputs=(("photo", ("n", 1, "h", "w")),)), "has an input of ?×1×?×?"),
        (make_own(inputs=(("photo", (4, 3, "h", "w")),)), "has an input of 4×3×?×?"),
        (make_own(output=("n", 2, "h", "w")), "has an output of ?×2×?×?"),
        (make_own(scale=0.5), "gives 1×1×16×24 for a picture of 32×48"),
        (make_own(kind=TensorProto.DOUBLE), "has an input that is not float32"),
    ],
    ids=["inputs", "fixed", "grey", "batch", "channels", "half", "double"],
)
def test_another_kind_of_network_is_refused(
    model: onnx.ModelProto, words: str, refuse: Refuse
) -> None:
    line = refuse(model.SerializeToString(), "own.onnx")
    assert words in line
    assert "height and width dynamic" in line


def test_initial_values_among_the_inputs_are_no_inputs(tmp_path: Path) -> None:
    """As older exporters list them."""
    model = make_own()
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    path = tmp_path / "own.onnx"
    onnx.save(model, path)
    assert load_weights(path).model == path.read_bytes()


def test_a_size_it_cannot_take_is_told_later_too(forms: dict[str, Path]) -> None:
    weights = load_weights(forms["own.onnx"])
    plan = weights.plan(64, 64, 0)
    half = type(weights)("onnx", "ab" * 32, None, model=make_own(scale=0.5).SerializeToString())
    with pytest.raises(InputError, match=r"abababababab… gives 1×1×32×32 for a picture of 64×64"):
        half.graph(plan)
