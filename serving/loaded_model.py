"""One promoted generator, loaded and checked."""

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

# Grey levels of 255 by which the pictures of the examples may differ in the mean. In bfloat16 it
# is about 1; of other weights, or a broken network, it is tens.
TOLERANCE = 4.0


@dataclass(frozen=True)
class LoadedModel:
    """A generator that answers.

    Attributes
    ----------
    name : of its data set, and so of the model.
    promotion : what was promoted.
    card : of the generator.
    draw : runs it.
    examples : outlines to trace, and their pictures.
    apart : grey levels of 255 by which the examples' pictures differed in the mean when it was
        checked; of the worst.
    """

    name: str
    promotion: Promotion
    card: GeneratorCard
    generate: GenerateFn
    examples: tuple[Example, ...]
    max_mean_abs_diff: float


def load_model(store: ObjectStore, name: str, promotion: Promotion, engine: GeneratorEngine) -> LoadedModel:
    """Load what was promoted, and check it on its examples.

    Raises
    ------
    IntegrityError
        If its files are damaged, or it draws other pictures than the examples have.
    StorageError
        If the store cannot be read.
    """
    if engine.weights_format == "weights":
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
    return LoadedModel(name, promotion, card, generate, examples, check_examples(generate, card.image_size, examples))


def check_examples(generate: GenerateFn, side: int, examples: tuple[Example, ...]) -> float:
    """Check a generator on its examples, and on a drawing of ours; the first run warms it up.

    Returns
    -------
    float
        The largest mean difference from an example's picture, in grey levels of 255.

    Raises
    ------
    IntegrityError
        If it is over ``TOLERANCE``, or a picture is not finite or of another size.
    """
    drawing = np.full((side, side), 255, np.uint8)
    drawing[side // 4 : -side // 4, side // 2] = 0
    _generate_picture(generate, drawing)
    worst = 0.0
    for number, example in enumerate(examples):
        outline, expected = decode_png(example.drawing, False), decode_png(example.picture, True)
        if outline is None or expected is None or expected.shape != (side, side, 3):
            raise IntegrityError(f"Its example {number} is damaged. Promote it again.")
        picture = _generate_picture(generate, scale_drawing(outline, side))
        mean_abs_diff = float(np.abs(picture.astype(np.int16) - expected).mean())
        if mean_abs_diff > TOLERANCE:
            raise IntegrityError(
                f"It draws its example {number} differently here: by {mean_abs_diff:.1f} of 255 levels in "
                f"the mean, and {TOLERANCE:g} are allowed. Try another engine, or promote it again."
            )
        worst = max(worst, mean_abs_diff)
    return worst


def _generate_picture(generate: GenerateFn, drawing: Image8) -> Image8:
    image = generate_picture(generate, drawing)
    if image is None:
        raise IntegrityError(
            "It draws values that are not finite, or another size. Promote an earlier checkpoint."
        )
    return image
