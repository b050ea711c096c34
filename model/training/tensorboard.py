"""TensorBoard's event files, made whole from what a run has logged; nothing writes on."""

import io
from collections.abc import Iterable, Mapping

import cv2
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

# Their folder in a run's.
EVENTS = "events"

# Every event file begins with it.
_VERSION = "brain.Event:2"

_TAGS = {
    "discriminator": "loss/discriminator",
    "adversarial": "loss/adversarial",
    "l1": "loss/l1",
    "val_l1": "loss/val_l1",
    "discriminator_gradient": "gradient/discriminator",
    "generator_gradient": "gradient/generator",
}


def events_name(epoch: int) -> str:
    """Return the file name of an epoch's events in its run's folder.

    TensorBoard reads a folder's files in the order of their names, as one run.
    """
    return f"{EVENTS}/events.out.tfevents.epoch-{epoch:04d}"


def is_whole(data: bytes) -> bool:
    """Tell whether bytes are an event file that ends with a record, as every one does."""
    # A record: its length (uint64), that one's checksum, the event, its checksum.
    at = 0
    while at + 12 <= len(data):
        at += 16 + int.from_bytes(data[at : at + 8], "little")
    return 0 < at == len(data)


def write_events(
    lines: Iterable[Mapping[str, float]], images: Mapping[str, bytes], step: int
) -> bytes:
    """Return an event file: equal figures and images give equal bytes.

    Its times are not those of a clock but its steps, as seconds.

    Parameters
    ----------
    lines : of metrics.jsonl, each with its ``step``; what else is in a line is a scalar of it.
    images : JPEG or PNG bytes by tag, such as ``samples/pairs``.
    step : of the images.
    """
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)

    def write(event: Event) -> None:
        writer.write(event.SerializeToString(deterministic=True))

    lines = list(lines)
    first = int(min((line["step"] for line in lines), default=step))
    write(Event(wall_time=first, file_version=_VERSION))
    for line in lines:
        scalars = [
            Summary.Value(tag=_TAGS.get(name, name), simple_value=value)
            for name, value in line.items()
            if name not in ("epoch", "step")
        ]
        at = int(line["step"])
        write(Event(wall_time=at, step=at, summary=Summary(value=scalars)))
    if images:
        shown = [Summary.Value(tag=tag, image=_image(data)) for tag, data in images.items()]
        write(Event(wall_time=step, step=step, summary=Summary(value=shown)))
    return buffer.getvalue()


def _image(data: bytes) -> Summary.Image:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None, "images come encoded"
    height, width = pixels.shape[:2]
    return Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data)
