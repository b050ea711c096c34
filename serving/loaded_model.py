"""Loading of a promoted generator, and the check of its examples."""

from dataclasses import dataclass

import numpy as np

from config.errors import IntegrityError
from model.data.dataset import scale_drawing
from model.export.card import GeneratorCard
from model.export.serialization import load_generator, read_card
from serving.encode import Image8, decode_png, generate_picture
from serving.engines import GenerateFn, GeneratorEngine
from storage import ObjectStore
from storage.promoted_files import Example, read_example, read_onnx, read_weights
from storage.promotions import Promotion

# Largest mean absolute difference of an example's picture, in gray levels of 255. In bfloat16 it is
# about 1; with other weights or a broken network it is tens.
TOLERANCE = 4.0


@dataclass(frozen=True)
class LoadedModel:
    """A loaded generator that passed the check of its examples.

    Attributes
    ----------
    name : str
        Name of the model, which is its data set's.
    promotion : Promotion
        The promotion that it was loaded from.
    card : GeneratorCard
        Metadata of the generator.
    generate : GenerateFn
        Runs the generator.
    examples : tuple of Example
        Outlines to trace, and their pictures.
    max_mean_abs_diff : float
        Largest mean absolute difference between a generated picture and an example's, in gray
        levels of 255.
    """

    name: str
    promotion: Promotion
    card: GeneratorCard
    generate: GenerateFn
    examples: tuple[Example, ...]
    max_mean_abs_diff: float


def load_model(
    store: ObjectStore, name: str, promotion: Promotion, engine: GeneratorEngine
) -> LoadedModel:
    """Load a promoted generator, and check it on its examples.

    Parameters
    ----------
    store : ObjectStore
        Holds the promotion's files.
    name : str
        Name of the model.
    promotion : Promotion
        Names the export to load.
    engine : GeneratorEngine
        Runs the generator.

    Raises
    ------
    IntegrityError
        If the files are damaged, or the generated pictures differ from the examples'.
    NotFoundError
        If a file is missing.
    StorageError
        If the store cannot be read.
    """
    if engine.weights_format == "safetensors":
        data = read_weights(store, name, promotion)
        _, card = load_generator(data)
    else:
        data = read_onnx(store, name, promotion)
        card = read_card(data)
    examples = tuple(
        Example(
            read_example(store, name, promotion, number, "drawing"),
            read_example(store, name, promotion, number, "picture"),
        )
        for number in range(promotion.examples)
    )
    generate = engine.load(data, card.image_size)
    return LoadedModel(
        name,
        promotion,
        card,
        generate,
        examples,
        check_examples(generate, card.image_size, examples),
    )


def check_examples(generate: GenerateFn, side: int, examples: tuple[Example, ...]) -> float:
    """Check a generator on a synthetic drawing, which warms it up, and on its examples.

    Parameters
    ----------
    generate : GenerateFn
        Runs the generator.
    side : int
        Side of its pictures in pixels.
    examples : tuple of Example
        Outlines and expected pictures, as PNG.

    Returns
    -------
    float
        Largest mean absolute difference from an example's picture, in gray levels of 255.

    Raises
    ------
    IntegrityError
        If the difference is over ``TOLERANCE``, an example is damaged, or a picture has the wrong
        size or values that are not finite.
    """
    drawing = np.full((side, side), 255, np.uint8)
    drawing[side // 4 : -side // 4, side // 2] = 0
    _generate_picture(generate, drawing)
    worst = 0.0
    for number, example in enumerate(examples):
        outline, expected = decode_png(example.drawing, False), decode_png(example.picture, True)
        if outline is None or expected is None or expected.shape != (side, side, 3):
            raise IntegrityError(f"Example {number} is damaged. Promote the checkpoint again.")
        picture = _generate_picture(generate, scale_drawing(outline, side))
        mean_abs_diff = float(np.abs(picture.astype(np.int16) - expected).mean())
        if mean_abs_diff > TOLERANCE:
            raise IntegrityError(
                f"The picture of example {number} differs from the promoted one by "
                f"{mean_abs_diff:.1f} of 255 gray levels in the mean; {TOLERANCE:g} are allowed. "
                "Try another engine, or promote the checkpoint again."
            )
        worst = max(worst, mean_abs_diff)
    return worst


def _generate_picture(generate: GenerateFn, drawing: Image8) -> Image8:
    image = generate_picture(generate, drawing)
    if image is None:
        raise IntegrityError(
            "The generator's output has the wrong size or values that are not finite. Promote an "
            "earlier checkpoint."
        )
    return image
