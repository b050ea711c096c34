"""Serialization of generators: safetensors for PyTorch, ONNX for other programs."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnxruntime
import safetensors.torch
import torch
from onnx.helper import set_model_props
from pydantic import ValidationError
from safetensors import SafetensorError
from torch.export import Dim

from config.errors import IntegrityError, NotFoundError
from model.export.card import CARD_KEY, GeneratorCard
from model.networks.generator import Generator

# Largest difference of PyTorch and ONNX Runtime, for values in [-1, 1]: a quarter of a gray level.
PARITY_TOLERANCE = 2e-3

_INPUT, _OUTPUT = "condition", "picture"
# Side for tracing, which occurs nowhere as a constant, and a second side for the parity check.
_TRACE_SIZE, _CHECK_SIZE = 64, 48


def to_safetensors(generator: Generator, card: GeneratorCard) -> bytes:
    """Serialize weights (float32) and card; equal inputs give equal bytes.

    Parameters
    ----------
    generator : Generator
    card : GeneratorCard

    Returns
    -------
    bytes
    """
    weights = {name: value.contiguous() for name, value in generator.state_dict().items()}
    # A single entry, because the order of several ones is not deterministic.
    return safetensors.torch.save(weights, {CARD_KEY: card.model_dump_json()})


def load_generator(source: Path | bytes) -> tuple[Generator, GeneratorCard]:
    """Load a generator from a safetensors file. No code in the file is run.

    Parameters
    ----------
    source : Path or bytes
        The file or its content.

    Returns
    -------
    generator, card : Generator, GeneratorCard
        The generator is on the CPU, in evaluation mode, without gradients.

    Raises
    ------
    NotFoundError
        If the file cannot be read.
    IntegrityError
        If the file is damaged or was not written by ``to_safetensors``.
    """
    name = "The file" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
        weights = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        stored = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        card = GeneratorCard.model_validate_json(stored[CARD_KEY])
        # On "meta" no weights are allocated and initialized only to be replaced.
        with torch.device("meta"):
            generator = Generator(card.generator_width, card.generator_blocks)
        if any(value.dtype != torch.float32 for value in weights.values()):
            raise ValueError("its weights are not float32")
        generator.load_state_dict(weights, assign=True)
    except OSError as error:
        raise NotFoundError(f"{name} cannot be read: {error.strerror}.") from error
    except KeyError:
        raise IntegrityError(
            f"{name} has no generator card. Export it with `icanvas export-model`."
        ) from None
    except (SafetensorError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise IntegrityError(f"{name} cannot be loaded: {first} Export it again.") from error
    return generator.eval().requires_grad_(False), card


def to_onnx(generator: Generator, card: GeneratorCard) -> bytes:
    """Convert a generator to ONNX, with the card in its metadata.

    The card describes the input ``condition`` and the output ``picture``; batch, height and width
    are dynamic. The file contains no information about the exporting machine.

    Parameters
    ----------
    generator : Generator
    card : GeneratorCard

    Returns
    -------
    bytes
    """
    condition = torch.ones(2, 1, _TRACE_SIZE, _TRACE_SIZE)
    with _silence_exporter():
        exported = torch.onnx.export(
            generator,
            (condition,),
            dynamo=True,
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_shapes=({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},),
            verbose=False,
        )
    assert exported is not None, "dynamo=True returns a program"
    network = exported.model_proto
    graph = network.graph
    for part in (network, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        # These contain stack traces with paths of this machine.
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    # The exporter's symbolic dimensions; programs infer shapes themselves.
    graph.ClearField("value_info")
    for value in (*graph.input, *graph.output):
        sizes = value.type.tensor_type.shape.dim
        for place, size in ((0, "batch"), (2, "height"), (3, "width")):
            sizes[place].dim_param = size
    set_model_props(network, {CARD_KEY: card.model_dump_json()})
    onnx.checker.check_model(network)
    return bytes(network.SerializeToString(deterministic=True))


@contextmanager
def _silence_exporter() -> Iterator[None]:
    """Suppress the exporter's messages about optional packages and about itself."""
    logger = logging.getLogger("torch.onnx")
    previous_level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(previous_level)


def read_card(network: bytes) -> GeneratorCard:
    """Return the card of an ONNX file written by ``to_onnx``.

    Parameters
    ----------
    network : bytes

    Returns
    -------
    GeneratorCard

    Raises
    ------
    IntegrityError
        If the file is damaged or has no card.
    """
    try:
        props = {entry.key: entry.value for entry in onnx.load_from_string(network).metadata_props}
        return GeneratorCard.model_validate_json(props[CARD_KEY])
    except (KeyError, ValidationError) as error:
        raise IntegrityError(
            "The file has no generator card. Export it with `icanvas export-model`."
        ) from error
    # The class of the parser's error depends on the protobuf implementation.
    except Exception as error:
        raise IntegrityError("The file is not an ONNX network. Export it again.") from error


def check_parity(generator: Generator, weights: bytes, network: bytes) -> float:
    """Check that both files generate the same pictures as a generator.

    They are compared on one picture of the generator's size and a batch of two of another size.

    Parameters
    ----------
    generator : Generator
        The exported generator.
    weights, network : bytes
        The safetensors and the ONNX file.

    Returns
    -------
    float
        Largest absolute difference, for values in [-1, 1].

    Raises
    ------
    IntegrityError
        If the difference exceeds ``PARITY_TOLERANCE``, or a picture is not finite.
    """
    loaded, card = load_generator(weights)
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    random = torch.Generator().manual_seed(0)
    max_abs_diff = 0.0
    for shape in ((1, 1, card.image_size, card.image_size), (2, 1, card.image_size, _CHECK_SIZE)):
        drawing = (torch.rand(shape, generator=random) > 0.05).float()
        with torch.no_grad():
            expected, loaded_picture = generator(drawing), loaded(drawing)
        (onnx_picture,) = session.run([_OUTPUT], {_INPUT: drawing.numpy()})
        for name, picture in (
            ("safetensors", loaded_picture),
            ("ONNX", torch.from_numpy(onnx_picture)),
        ):
            abs_diff = (picture - expected).abs().max().item()
            if not abs_diff <= PARITY_TOLERANCE:
                raise IntegrityError(
                    f"The {name} file and the checkpoint generate different pictures: values in "
                    f"[-1, 1] differ by {abs_diff:.2g}; at most {PARITY_TOLERANCE:g} is allowed."
                )
            max_abs_diff = max(max_abs_diff, abs_diff)
    return max_abs_diff
