"""Small generators with random weights, exported and promoted without training."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.helper import set_model_props

from model.data.dataset import scale_drawing, to_condition
from model.export.card import CARD_KEY, GeneratorCard
from model.export.serialization import to_onnx, to_safetensors
from model.networks.generator import Generator
from model.training.samples import to_image
from postprocess import encode_png
from storage import ObjectStore, keys
from storage.promoted_files import Example, write_export
from storage.promotions import Promoted, Promotion

SIDE = 64


@dataclass(frozen=True)
class ExportFixture:
    """An export in memory.

    Attributes
    ----------
    safetensors, onnx : bytes
        The generator in both formats.
    card : GeneratorCard
        Its metadata.
    examples : tuple of Example
        Outlines, and the pictures that PyTorch generates from them.
    """

    safetensors: bytes
    onnx: bytes
    card: GeneratorCard
    examples: tuple[Example, ...]


def draw_outline(number: int, side: int = 256) -> NDArray[np.uint8]:
    """Draw random polylines, one pixel wide, from a seed: uint8 side×side, 0 on lines."""
    drawing = np.full((side, side), 255, np.uint8)
    random = np.random.default_rng(number)
    for _ in range(4):
        points = random.integers(20, side - 20, (4, 2)).astype(np.int32)
        cv2.polylines(drawing, [points], True, 0, 1)
    return drawing


@cache
def export_random_generator(seed: int) -> ExportFixture:
    """Export a generator with random weights, and two examples."""
    torch.manual_seed(seed)
    generator = Generator(8, 1).eval().requires_grad_(False)
    with torch.no_grad():
        for weight in generator.parameters():
            # Increase the contrast, so that the mean differs between generators.
            weight.mul_(2 if weight.ndim > 1 else 1)
    card = GeneratorCard(
        dataset="tiny",
        run="run",
        epoch=seed + 1,
        step=1,
        checkpoint="0" * 64,
        pairs="pairs",
        average=True,
        image_size=SIDE,
        extent=0.85,
        generator_width=8,
        generator_blocks=1,
        trained_with={},
        exported_with={},
        revision=None,
    )
    examples = []
    for number in range(2):
        outline = draw_outline(number)
        condition = to_condition(scale_drawing(outline, SIDE)).unsqueeze(0)
        examples.append(Example(encode_png(outline), encode_png(to_image(generator(condition)[0]))))
    network = (
        to_onnx(generator, card)
        if seed == 0
        else _replace_weights(export_random_generator(0), generator, card)
    )
    return ExportFixture(to_safetensors(generator, card), network, card, tuple(examples))


def _replace_weights(template: ExportFixture, generator: Generator, card: GeneratorCard) -> bytes:
    """Put a generator's weights into an exported ONNX graph, because exporting takes seconds."""
    network = onnx.load_from_string(template.onnx)
    weights = generator.state_dict()
    for initializer in network.graph.initializer:
        if initializer.name in weights:
            initializer.CopyFrom(
                numpy_helper.from_array(weights.pop(initializer.name).numpy(), initializer.name)
            )
    # The exporter merges equal initializers: norm weights, which are all ones or all zeros.
    assert all(value.unique().numel() == 1 for value in weights.values())
    set_model_props(network, {CARD_KEY: card.model_dump_json()})
    return bytes(network.SerializeToString())


def promote(
    store: ObjectStore,
    name: str,
    exported: ExportFixture,
    *,
    examples: tuple[Example, ...] | None = None,
) -> Promoted:
    """Write an export and make it the promoted one. There is no checkpoint behind it."""
    written_examples = exported.examples if examples is None else examples
    stored = write_export(
        store,
        name,
        exported.safetensors,
        exported.onnx,
        exported.card.model_dump_json().encode(),
        written_examples,
    )
    promotion = Promotion(
        title=name.title(),
        run=exported.card.run,
        epoch=exported.card.epoch,
        sha256="0" * 64,
        export=stored.export,
        weights=stored.weights,
        network=stored.network,
        examples=stored.examples,
        at=datetime.now(UTC),
    )
    pointer = Promoted(**promotion.model_dump())
    store.put(keys.promoted(name), pointer.model_dump_json().encode())
    return pointer
