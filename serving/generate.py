"""What a worker does for one drawing."""

from dataclasses import dataclass

from config.errors import IntegrityError
from postprocess import encode_png
from serving.archive import Keeper
from serving.decode import read_drawing
from serving.encode import draw_picture, encode_picture
from serving.errors import Refusal
from serving.loaded_model import Served
from serving.queue import Job, Task
from serving.safety import Gate


@dataclass(frozen=True)
class Wish:
    """A drawing, and what is to be made of it.

    Attributes
    ----------
    model : what makes it.
    body, content_type, normalise : see ``read_drawing``.
    size : side of the picture in pixels; None for the model's own.
    """

    model: Served
    body: bytes
    content_type: str
    normalise: bool
    size: int | None


@dataclass(frozen=True)
class Rules:
    """What holds for every drawing.

    Attributes
    ----------
    max_pixels : see ``read_drawing``.
    gate, threshold : probability from which on the gate keeps a picture back; None for no gate.
    keeper : keeps drawings; None to forget them.
    """

    max_pixels: int
    gate: Gate | None
    threshold: float
    keeper: Keeper | None


def make_task(wish: Wish, rules: Rules) -> Task:
    """Return the work on a drawing; it gives a PNG, or raises ``Refusal``."""

    def work(job: Job) -> bytes:
        model, side = wish.model, wish.model.card.image_size
        drawing = read_drawing(
            wish.body,
            wish.content_type,
            normalise=wish.normalise,
            extent=model.card.extent,
            side=side,
            max_pixels=rules.max_pixels,
        )
        job.end_stage("prepare")
        image = draw_picture(model.draw, drawing)
        if image is None:
            raise IntegrityError(f"{model.name} drew values that are not finite.")
        job.end_stage("network")
        if rules.gate is not None:
            if rules.gate(image) >= rules.threshold:
                raise Refusal("not_shown")
            job.end_stage("check")
        data = encode_picture(image, wish.size or side)
        job.end_stage("encode")
        if rules.keeper is not None:
            rules.keeper.offer(model.name, encode_png(drawing), data)
        return data

    return work
