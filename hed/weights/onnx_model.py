"""An edge detector of one's own, as an ONNX file with any height and width."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper

from config.errors import InputError
from hed.crop_plan import SMALLEST, STRIDE, Axis, Plan
from hed.weights.constant_folding import fold_sizes
from hed.weights.formatting import write_shape, write_text

# The first in which a Slice takes its bounds as inputs.
_OLDEST_OPSET = 10
# Also standard: a long form of the empty name.
_STANDARD = ("", "ai.onnx")
_OWN = "own."

_AXES = (
    "Export it with float32 input N×3×height×width and float32 output N×1×height×width, height "
    "and width dynamic."
)


def plan_whole(side: int, border: int) -> Axis:
    """Return the plan of one axis for a network of which nothing is known.

    All of the border is given; after the picture it goes on up to a size that four poolings halve.

    Parameters
    ----------
    side : wanted pixels.
    border : reflected pixels before, and at least as many after them.
    """
    whole = max(SMALLEST, side + 2 * border)
    whole += -whole % STRIDE
    return Axis(side, border, whole - side - border, (), ())


def check_model(content: bytes, path: Path) -> None:
    """Check that a file is an edge detector that any engine can run.

    Input float32 N×3×H×W, the picture's BGR minus the mean; output float32 N×1×H×W, probabilities.

    Raises
    ------
    InputError
        If it is damaged or no such network, refers to further files, or uses operators that are
        not ONNX's own.
    """
    name = f"The ONNX network {path}"
    model = _parse(content, name)
    for opset in model.opset_import:
        if opset.domain in _STANDARD and opset.version < _OLDEST_OPSET:
            raise InputError(
                f"{name} is of opset {opset.version}. "
                f"Export it with opset {_OLDEST_OPSET} or later."
            )
    _check_parts(model, name)
    try:
        onnx.checker.check_model(model)
    # A library in C++ that was not written for hostile files; what it raises knows no bounds.
    except Exception as error:
        reason = _shorten(error)
        raise InputError(f"{name} is not valid: {reason}. Export or fetch it again.") from error
    _check_ends(model.graph, name)
    # Two sizes that differ, so that height and width cannot be mistaken for each other.
    fix_size(content, Plan(plan_whole(32, 0), plan_whole(48, 0)), name)


def fix_size(content: bytes, plan: Plan, name: str) -> bytes:
    """Return the network for pictures of one size, cut to the picture.

    Parameters
    ----------
    content : an ONNX file that ``check_model`` accepts.
    plan : of ``plan_whole``.
    name : the network's, for messages.

    Returns
    -------
    bytes
        Serialised ONNX model: its one input float32 (1, 3, plan.rows.input, plan.columns.input),
        output ``edges`` float32 (1, 1, plan.rows.side, plan.columns.side). All other names have a
        prefix. Sizes are declared throughout, as OpenCV's importer asks.

    Raises
    ------
    InputError
        If the network's output for this size is not of this size.
    """
    rows, columns = plan.rows, plan.columns
    model = _parse(content, name)
    try:
        model = _infer_sizes(model, rows.input, columns.input)
    # C++ again, and in Python what does not expect names that are no text.
    except Exception as error:
        raise InputError(
            f"{name} does not take pictures of {rows.input}×{columns.input}: {_shorten(error)}. "
            + _AXES
        ) from error
    graph, whole = model.graph, model.graph.output[0]
    found = [side.dim_value or None for side in whole.type.tensor_type.shape.dim]
    if found != [1, 1, rows.input, columns.input]:
        raise InputError(
            f"{name} gives {write_shape(found) if found else 'an unknown size'} for a picture of "
            f"{rows.input}×{columns.input}. {_AXES}"
        )
    bounds = {
        "start": [rows.before, columns.before],
        "stop": [rows.before + rows.side, columns.before + columns.side],
        "axes": [2, 3],
    }
    for part, values in bounds.items():
        constant = numpy_helper.from_array(np.array(values, np.int64), f"edges.{part}")
        graph.initializer.append(constant)
    sources = [whole.name, *(f"edges.{part}" for part in bounds)]
    graph.node.append(helper.make_node("Slice", sources, ["edges"]))
    # What was the output is now an inner tensor.
    graph.value_info.append(whole)
    shape = [1, 1, rows.side, columns.side]
    edges = helper.make_tensor_value_info("edges", TensorProto.FLOAT, shape)
    graph.output[0].CopyFrom(edges)
    serialised: bytes = model.SerializeToString()
    return serialised


def _parse(content: bytes, name: str) -> onnx.ModelProto:
    try:
        return onnx.load_from_string(content)
    except DecodeError as error:
        raise InputError(
            f"{name} cannot be read as ONNX: the file is damaged, cut short or of another kind. "
            "Export or fetch it again."
        ) from error


def _check_parts(model: onnx.ModelProto, name: str) -> None:
    """Check everything in the model for what reads files or is not known to every engine."""
    for part in _walk(model):
        if isinstance(part, onnx.TensorProto):
            if part.data_location == TensorProto.EXTERNAL or part.external_data:
                raise InputError(
                    f"{name} keeps {write_text(part.name) or 'a tensor'} in another file. "
                    "Export it with its weights inside the one file."
                )
            _check_numbers(part, name)
        elif isinstance(part, onnx.FunctionProto):
            raise InputError(
                f"{name} defines the function {write_text(part.name)}. "
                "Export it with functions inlined."
            )
        elif isinstance(part, onnx.NodeProto) and part.domain not in _STANDARD:
            raise InputError(
                f"{name} uses {write_text(part.op_type)} of {write_text(part.domain)}, which is "
                "not one of ONNX's own operators. Export it with those only."
            )


def _check_numbers(tensor: onnx.TensorProto, name: str) -> None:
    label = write_text(tensor.name) or "a tensor"
    try:
        values = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(
            f"{name} is damaged: {label} holds other than it declares. Export or fetch it again."
        ) from error
    # An infinity may be meant, as the bound of a Clip or what a pooling is padded with.
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise InputError(f"{name} holds NaN in {label}. The file is damaged; export it again.")


def _check_ends(graph: onnx.GraphProto, name: str) -> None:
    inputs = _inputs(graph)
    if len(inputs) != 1 or len(graph.output) != 1:
        raise InputError(
            f"{name} has {len(inputs)} inputs and {len(graph.output)} outputs, not one of each. "
            + _AXES
        )
    for end, value, channels in (("input", inputs[0], 3), ("output", graph.output[0], 1)):
        tensor = value.type.tensor_type
        sides = [
            side.dim_value if side.HasField("dim_value") else None for side in tensor.shape.dim
        ]
        shape = write_shape(sides) if sides else "no declared size"
        if tensor.elem_type != TensorProto.FLOAT:
            raise InputError(f"{name} has an {end} that is not float32. {_AXES}")
        if len(sides) != 4 or sides[0] not in (None, 1) or sides[1] not in (None, channels):
            raise InputError(f"{name} has an {end} of {shape}. {_AXES}")
        if sides[2] is not None or sides[3] is not None:
            raise InputError(f"{name} is made for one size, its {end} is {shape}. {_AXES}")


def _inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs proper; older files list initial values among them."""
    given = {tensor.name for tensor in graph.initializer}
    given |= {tensor.values.name for tensor in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in given]


def _infer_sizes(model: onnx.ModelProto, height: int, width: int) -> onnx.ModelProto:
    """Return the model for one size of picture, its names prefixed and its sizes inferred."""
    model = onnx.compose.add_prefix(model, _OWN)
    graph = model.graph
    shape = _inputs(graph)[0].type.tensor_type.shape
    del shape.dim[:]
    for side in (1, 3, height, width):
        shape.dim.add(dim_value=side)
    # These may hold the names of sizes that are now numbers.
    graph.output[0].type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    return fold_sizes(model)


def _walk(part: Message) -> Iterator[Message]:
    """Yield a message and all within, however deep: graphs hold nodes that hold graphs."""
    yield part
    for field, value in part.ListFields():
        if field.message_type is not None:
            for inner in [value] if isinstance(value, Message) else value:
                yield from _walk(inner)


def _shorten(error: Exception) -> str:
    """Return the first line of a library's message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return write_text(lines[0] if lines else type(error).__name__).rstrip(".")
