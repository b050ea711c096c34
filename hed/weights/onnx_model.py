"""Validation and preparation of custom edge detectors: ONNX files with dynamic height and width."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper

from config.errors import InputError
from hed.crop_plan import MIN_INPUT_SIZE, STRIDE, CropAxis, CropPlan
from hed.weights.constant_folding import fold_shapes
from hed.weights.formatting import format_shape, format_text

# The first opset in which Slice takes its bounds as inputs.
_MIN_OPSET = 10
# "ai.onnx" is an alias of the empty domain.
_STANDARD_DOMAINS = ("", "ai.onnx")
_NAME_PREFIX = "custom."

_EXPORT_HINT = (
    "Export it with float32 input N×3×height×width and float32 output N×1×height×width, height "
    "and width dynamic."
)


def plan_uncropped_axis(size: int, border: int) -> CropAxis:
    """Return the plan of one axis for a network with an unknown receptive field.

    The whole border is part of the input. After the picture it is extended to a size that four
    poolings can halve.

    Parameters
    ----------
    size : int, pixels, at least 1
        Size of the edge map.
    border : int, pixels, at least 0
        Reflected pixels before the picture, and at least as many after it.

    Returns
    -------
    CropAxis
    """
    padded_size = max(MIN_INPUT_SIZE, size + 2 * border)
    padded_size += -padded_size % STRIDE
    return CropAxis(size, border, padded_size - size - border, (), ())


def check_onnx_model(content: bytes, path: Path) -> None:
    """Check that a file is an edge detector that every engine can run.

    The input must be float32 N×3×H×W (BGR minus the mean), the output float32 N×1×H×W
    (probabilities).

    Parameters
    ----------
    content : bytes
        The file's content.
    path : Path
        The file's location, for error messages.

    Raises
    ------
    InputError
        If the file is damaged, has other inputs or outputs, refers to other files, or uses
        operators outside the ONNX standard.
    """
    name = f"The ONNX network {path}"
    model = _parse_model(content, name)
    for opset in model.opset_import:
        if opset.domain in _STANDARD_DOMAINS and opset.version < _MIN_OPSET:
            raise InputError(
                f"{name} uses opset {opset.version}. Export it with opset {_MIN_OPSET} or later."
            )
    _check_messages(model, name)
    try:
        onnx.checker.check_model(model)
    # The checker is C++ that is not hardened against hostile files: it may raise any exception.
    except Exception as error:
        reason = _first_line(error)
        raise InputError(f"{name} is not valid: {reason}. Export or download it again.") from error
    _check_input_and_output(model.graph, name)
    # Different sizes, so that swapped height and width are detected.
    fix_input_size(content, CropPlan(plan_uncropped_axis(32, 0), plan_uncropped_axis(48, 0)), name)


def fix_input_size(content: bytes, plan: CropPlan, name: str) -> bytes:
    """Return the network for pictures of one size, with its output cropped to the picture.

    Parameters
    ----------
    content : bytes
        An ONNX file that ``check_onnx_model`` accepts.
    plan : CropPlan
        Made of two results of ``plan_uncropped_axis``.
    name : str
        The network's name, for error messages.

    Returns
    -------
    bytes
        Serialized ONNX model. Its only input is float32
        (1, 3, plan.rows.input_size, plan.columns.input_size), its output ``edges`` float32
        (1, 1, plan.rows.output_size, plan.columns.output_size). All other names get a prefix. All
        shapes are declared, as OpenCV's importer requires.

    Raises
    ------
    InputError
        If the network's output does not have the size of its input.
    """
    rows, columns = plan.rows, plan.columns
    model = _parse_model(content, name)
    try:
        model = _infer_shapes(model, rows.input_size, columns.input_size)
    # The C++ checker again, and Python code that fails on names that are not text.
    except Exception as error:
        raise InputError(
            f"{name} does not accept an input of {rows.input_size}×{columns.input_size} px: "
            f"{_first_line(error)}. {_EXPORT_HINT}"
        ) from error
    graph, full_output = model.graph, model.graph.output[0]
    output_shape = [side.dim_value or None for side in full_output.type.tensor_type.shape.dim]
    if output_shape != [1, 1, rows.input_size, columns.input_size]:
        shape = format_shape(output_shape) if output_shape else "an unknown shape"
        raise InputError(
            f"{name} outputs {shape} for an input of {rows.input_size}×{columns.input_size} px. "
            f"{_EXPORT_HINT}"
        )
    bounds = {
        "start": [rows.pad_before, columns.pad_before],
        "stop": [rows.pad_before + rows.output_size, columns.pad_before + columns.output_size],
        "axes": [2, 3],
    }
    for part, values in bounds.items():
        constant = numpy_helper.from_array(np.array(values, np.int64), f"edges.{part}")
        graph.initializer.append(constant)
    sources = [full_output.name, *(f"edges.{part}" for part in bounds)]
    graph.node.append(helper.make_node("Slice", sources, ["edges"]))
    # The former output is now an intermediate tensor.
    graph.value_info.append(full_output)
    edges_shape = [1, 1, rows.output_size, columns.output_size]
    edges = helper.make_tensor_value_info("edges", TensorProto.FLOAT, edges_shape)
    graph.output[0].CopyFrom(edges)
    serialized: bytes = model.SerializeToString()
    return serialized


def _parse_model(content: bytes, name: str) -> onnx.ModelProto:
    try:
        return onnx.load_from_string(content)
    except DecodeError as error:
        raise InputError(
            f"{name} cannot be read as ONNX: the file is damaged, truncated or of another format. "
            "Export or download it again."
        ) from error


def _check_messages(model: onnx.ModelProto, name: str) -> None:
    """Reject external data, functions, foreign operators and invalid tensors, at any depth."""
    for part in _walk_messages(model):
        if isinstance(part, onnx.TensorProto):
            if part.data_location == TensorProto.EXTERNAL or part.external_data:
                raise InputError(
                    f"{name} stores {format_text(part.name) or 'a tensor'} in another file. "
                    "Export it with its weights in a single file."
                )
            _check_tensor(part, name)
        elif isinstance(part, onnx.FunctionProto):
            raise InputError(
                f"{name} defines the function {format_text(part.name)}. "
                "Export it with inlined functions."
            )
        elif isinstance(part, onnx.NodeProto) and part.domain not in _STANDARD_DOMAINS:
            raise InputError(
                f"{name} uses {format_text(part.op_type)} of {format_text(part.domain)}, which is "
                "not a standard ONNX operator. Export it with standard operators only."
            )


def _check_tensor(tensor: onnx.TensorProto, name: str) -> None:
    label = format_text(tensor.name) or "a tensor"
    try:
        values = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(
            f"{name} is damaged: the data of {label} does not match its declared shape and type. "
            "Export or download it again."
        ) from error
    # An infinity may be intended, as the bound of a Clip or the padding of a pooling.
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise InputError(f"{name} contains NaN in {label}. The file is damaged; export it again.")


def _check_input_and_output(graph: onnx.GraphProto, name: str) -> None:
    inputs = _list_graph_inputs(graph)
    if len(inputs) != 1 or len(graph.output) != 1:
        raise InputError(
            f"{name} has {len(inputs)} inputs and {len(graph.output)} outputs instead of one each. "
            + _EXPORT_HINT
        )
    for role, value, channels in (("input", inputs[0], 3), ("output", graph.output[0], 1)):
        tensor = value.type.tensor_type
        dims = [side.dim_value if side.HasField("dim_value") else None for side in tensor.shape.dim]
        shape = format_shape(dims) if dims else "no declared size"
        if tensor.elem_type != TensorProto.FLOAT:
            raise InputError(f"{name} has an {role} that is not float32. {_EXPORT_HINT}")
        if len(dims) != 4 or dims[0] not in (None, 1) or dims[1] not in (None, channels):
            raise InputError(f"{name} has an {role} of {shape}. {_EXPORT_HINT}")
        if dims[2] is not None or dims[3] is not None:
            raise InputError(f"{name} has a fixed size: its {role} is {shape}. {_EXPORT_HINT}")


def _list_graph_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs without initializers, which older files list among them."""
    initializer_names = {tensor.name for tensor in graph.initializer}
    initializer_names |= {tensor.values.name for tensor in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in initializer_names]


def _infer_shapes(model: onnx.ModelProto, height: int, width: int) -> onnx.ModelProto:
    """Return the model for one input size, with prefixed names and inferred shapes."""
    model = onnx.compose.add_prefix(model, _NAME_PREFIX)
    graph = model.graph
    shape = _list_graph_inputs(graph)[0].type.tensor_type.shape
    del shape.dim[:]
    for side in (1, 3, height, width):
        shape.dim.add(dim_value=side)
    # These may contain symbolic names of dimensions that are now fixed.
    graph.output[0].type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    return fold_shapes(model)


def _walk_messages(message: Message) -> Iterator[Message]:
    """Yield a message and all messages in it, at any depth: graphs contain nodes with graphs."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if isinstance(value, Message) else value:
                yield from _walk_messages(inner)


def _first_line(error: Exception) -> str:
    """Return the first non-empty line of a library's error message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return format_text(lines[0] if lines else type(error).__name__).rstrip(".")
