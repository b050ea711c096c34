"""TensorBoard event files, each written as a whole from a run's log."""

import io
from collections.abc import Iterable, Mapping

import cv2
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

# Folder of the event files in a run's folder.
EVENTS_FOLDER = "events"

# The version that the first event of a file declares.
_FILE_VERSION = "brain.Event:2"

_TAGS = {
    "discriminator": "loss/discriminator",
    "adversarial": "loss/adversarial",
    "l1": "loss/l1",
    "val_l1": "loss/val_l1",
    "discriminator_gradient": "gradient/discriminator",
    "generator_gradient": "gradient/generator",
}


def events_name(epoch: int) -> str:
    """Return the name of an epoch's event file, relative to its run's folder.

    TensorBoard reads the files of a folder in the order of their names, as one run.

    Examples
    --------
    >>> events_name(4)
    'events/events.out.tfevents.epoch-0004'
    """
    return f"{EVENTS_FOLDER}/events.out.tfevents.epoch-{epoch:04d}"


def is_complete_file(data: bytes) -> bool:
    """Return whether bytes are an event file that is not cut off within a record."""
    # A record: length (uint64), checksum of the length, event, checksum of the event.
    offset = 0
    while offset + 12 <= len(data):
        offset += 16 + int.from_bytes(data[offset : offset + 8], "little")
    return 0 < offset == len(data)


def serialize_events(
    lines: Iterable[Mapping[str, float]], images: Mapping[str, bytes], step: int
) -> bytes:
    """Return an event file.

    Equal input gives equal bytes: the wall time of an event is its step in seconds.

    Parameters
    ----------
    lines : iterable of mapping
        Lines of metrics.jsonl, each with its ``step``; every other key but ``epoch`` is a scalar.
    images : mapping of str to bytes
        JPEG or PNG by tag, such as ``samples/pairs``.
    step : int
        Step of the images.

    Returns
    -------
    bytes
    """
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)

    def add_event(event: Event) -> None:
        writer.write(event.SerializeToString(deterministic=True))

    lines = list(lines)
    first_step = int(min((line["step"] for line in lines), default=step))
    add_event(Event(wall_time=first_step, file_version=_FILE_VERSION))
    for line in lines:
        scalars = [
            Summary.Value(tag=_TAGS.get(name, name), simple_value=value)
            for name, value in line.items()
            if name not in ("epoch", "step")
        ]
        line_step = int(line["step"])
        add_event(Event(wall_time=line_step, step=line_step, summary=Summary(value=scalars)))
    if images:
        values = [Summary.Value(tag=tag, image=_encode_image(data)) for tag, data in images.items()]
        add_event(Event(wall_time=step, step=step, summary=Summary(value=values)))
    return buffer.getvalue()


def _encode_image(data: bytes) -> Summary.Image:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None, "an image that cannot be decoded"
    height, width = pixels.shape[:2]
    return Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data)
