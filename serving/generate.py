"""What a worker does for one drawing."""

from dataclasses import dataclass

from config.errors import IntegrityError
from postprocess import encode_png
from serving.drawing_archive import DrawingArchive
from serving.decode import decode_drawing
from serving.encode import generate_picture, encode_picture
from serving.errors import ApiError
from serving.loaded_model import LoadedModel
from serving.queue import QueuedRequest, Task
from serving.safety import SafetyFilter


@dataclass(frozen=True)
class GenerateRequest:
    """A drawing, and what is to be made of it.

    Attributes
    ----------
    model : what makes it.
    body, content_type, normalise : see ``read_drawing``.
    size : side of the picture in pixels; None for the model's own.
    """

    model: LoadedModel
    body: bytes
    content_type: str
    normalize: bool
    size: int | None


@dataclass(frozen=True)
class GenerateOptions:
    """What holds for every drawing.

    Attributes
    ----------
    max_pixels : see ``read_drawing``.
    gate, threshold : probability from which on the gate keeps a picture back; None for no gate.
    keeper : keeps drawings; None to forget them.
    """

    max_pixels: int
    safety_filter: SafetyFilter | None
    safety_threshold: float
    archive: DrawingArchive | None


def make_task(wish: GenerateRequest, rules: GenerateOptions) -> Task:
    """Return the work on a drawing; it gives a PNG, or raises ``Refusal``."""

    def work(job: QueuedRequest) -> bytes:
        model, side = wish.model, wish.model.card.image_size
        drawing = decode_drawing(
            wish.body,
            wish.content_type,
            normalize=wish.normalize,
            extent=model.card.extent,
            side=side,
            max_pixels=rules.max_pixels,
        )
        job.end_stage("prepare")
        image = generate_picture(model.generate, drawing)
        if image is None:
            raise IntegrityError(f"{model.name} drew values that are not finite.")
        job.end_stage("network")
        if rules.safety_filter is not None:
            if rules.safety_filter(image) >= rules.safety_threshold:
                raise ApiError("not_shown")
            job.end_stage("check")
        data = encode_picture(image, wish.size or side)
        job.end_stage("encode")
        if rules.archive is not None:
            rules.archive.enqueue(model.name, encode_png(drawing), data)
        return data

    return work
