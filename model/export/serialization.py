"""A generator as a file: safetensors for PyTorch, ONNX for everything else."""

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

# Between PyTorch and ONNX Runtime, of values in [-1, 1]: a quarter of a grey level.
PARITY_TOLERANCE = 2e-3

_INPUT, _OUTPUT = "condition", "picture"
# A side that the exporter cannot take for a constant, and the one that is checked beside the
# generator's own.
_TRACE_SIZE, _CHECK_SIZE = 64, 48


def to_safetensors(generator: Generator, card: GeneratorCard) -> bytes:
    """Return weights (f32) and card as one file; equal ones give equal bytes."""
    weights = {name: value.contiguous() for name, value in generator.state_dict().items()}
    # One entry: several are written in no fixed order.
    return safetensors.torch.save(weights, {CARD_KEY: card.model_dump_json()})


def load_generator(source: Path | bytes) -> tuple[Generator, GeneratorCard]:
    """Return the generator of a safetensors file, on the CPU and ready for use, and its card.

    No code of the file is run.

    Parameters
    ----------
    source : the file, or its bytes.

    Raises
    ------
    NotFoundError
        If the file cannot be read.
    IntegrityError
        If it is damaged, or no file of ``to_safetensors``.
    """
    name = "The file" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
        weights = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        stored = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        card = GeneratorCard.model_validate_json(stored[CARD_KEY])
        # Nothing is allocated or drawn for weights that are replaced.
        with torch.device("meta"):
            generator = Generator(card.generator_width, card.generator_blocks)
        if any(value.dtype != torch.float32 for value in weights.values()):
            raise ValueError("its weights are not float32")
        generator.load_state_dict(weights, assign=True)
    except OSError as error:
        raise NotFoundError(f"{name} cannot be read: {error.strerror}.") from error
    except KeyError:
        raise IntegrityError(f"{name} has no card of `icanvas export-model`.") from None
    except (SafetensorError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise IntegrityError(f"{name} cannot be loaded: {first} Export it again.") from error
    return generator.eval().requires_grad_(False), card


def to_onnx(generator: Generator, card: GeneratorCard) -> bytes:
    """Return the generator as ONNX, with the card in its metadata.

    Input ``condition`` and output ``picture`` are as the card says; batch, height and width are
    free. Nothing tells of the machine that wrote it.
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
        # Stack traces with the paths of this machine.
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    # The exporter's own names of sizes; what reads the file finds shapes itself.
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
    """Keep to itself what the exporter says of packages that are not needed, and of its own."""
    logger = logging.getLogger("torch.onnx")
    previous_level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(previous_level)


def read_card(network: bytes) -> GeneratorCard:
    """Return the card of an ONNX file of ``to_onnx``.

    Raises
    ------
    IntegrityError
        If it is damaged, or none of these.
    """
    try:
        props = {entry.key: entry.value for entry in onnx.load_from_string(network).metadata_props}
        return GeneratorCard.model_validate_json(props[CARD_KEY])
    except (KeyError, ValidationError) as error:
        raise IntegrityError("The file has no card of `icanvas export-model`.") from error
    # The parser's own class of error depends on its implementation.
    except Exception as error:
        raise IntegrityError("The file is no ONNX network. Export it again.") from error


def check_parity(generator: Generator, weights: bytes, network: bytes) -> float:
    """Check that both files give a generator's pictures: one of its size, two of another.

    Parameters
    ----------
    generator : what was exported.
    weights, network : as safetensors and as ONNX.

    Returns
    -------
    float
        The largest difference, of values in [-1, 1].

    Raises
    ------
    IntegrityError
        If it is over ``TOLERANCE``, or a picture is not finite.
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
