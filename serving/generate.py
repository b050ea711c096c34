"""Processing of one generate request, in a worker thread of the queue."""

from dataclasses import dataclass

from config.errors import IntegrityError
from postprocess import encode_png
from serving.decode import decode_drawing
from serving.drawing_archive import DrawingArchive
from serving.encode import encode_picture, generate_picture
from serving.errors import ApiError
from serving.loaded_model import LoadedModel
from serving.queue import QueuedRequest
from serving.safety import SafetyFilter


@dataclass(frozen=True)
class GenerateRequest:
    """Parameters of one request.

    Attributes
    ----------
    model : LoadedModel
        Generates the picture.
    body : bytes
        The drawing; see ``decode_drawing``.
    content_type : str
        Type of the body.
    normalize : bool
        Whether to normalize the drawing; see ``decode_drawing``.
    size : int or None
        Side of the picture in pixels; None for the model's own.
    """

    model: LoadedModel
    body: bytes
    content_type: str
    normalize: bool
    size: int | None


@dataclass(frozen=True)
class GenerateOptions:
    """Options that are the same for all requests.

    Attributes
    ----------
    max_pixels : int
        Largest width × height of a picture; see ``decode_drawing``.
    safety_filter : SafetyFilter or None
        Rates every picture; None for no filter.
    safety_threshold : float
        Probability in (0, 1] from which on a picture is not shown.
    archive : DrawingArchive or None
        Stores drawings and pictures; None to store nothing.
    """

    max_pixels: int
    safety_filter: SafetyFilter | None
    safety_threshold: float
    archive: DrawingArchive | None


def run_request(request: GenerateRequest, options: GenerateOptions, queued: QueuedRequest) -> bytes:
    """Decode the drawing, generate the picture, apply the safety filter and encode the picture.

    Parameters
    ----------
    request : GenerateRequest
        The drawing and its parameters.
    options : GenerateOptions
        Options of the server.
    queued : QueuedRequest
        Receives the duration of each stage: ``prepare``, ``network``, ``check`` (with a safety
        filter) and ``encode``.

    Returns
    -------
    bytes
        The picture as PNG.

    Raises
    ------
    ApiError
        If the drawing cannot be used, or ``not_shown`` if the safety filter holds back the picture.
    IntegrityError
        If the generator's output is not finite.
    CancelledError
        If the request was cancelled.
    """
    model, side = request.model, request.model.card.image_size
    drawing = decode_drawing(
        request.body,
        request.content_type,
        normalize=request.normalize,
        extent=model.card.extent,
        side=side,
        max_pixels=options.max_pixels,
    )
    queued.end_stage("prepare")
    image = generate_picture(model.generate, drawing)
    if image is None:
        raise IntegrityError(
            f"The output of model {model.name} has values that are not finite. Promote another "
            "checkpoint."
        )
    queued.end_stage("network")
    if options.safety_filter is not None:
        if options.safety_filter(image) >= options.safety_threshold:
            raise ApiError("not_shown")
        queued.end_stage("check")
    data = encode_picture(image, request.size or side)
    queued.end_stage("encode")
    if options.archive is not None:
        options.archive.enqueue(model.name, encode_png(drawing), data)
    return data
