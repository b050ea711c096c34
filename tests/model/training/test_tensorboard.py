from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.training.tensorboard import events_name, is_complete_file, serialize_events
from postprocess import encode_jpeg


def make_lines(epoch: int, steps: int = 4) -> list[dict[str, float]]:
    first = (epoch - 1) * steps
    logged: list[dict[str, float]] = [
        {"epoch": epoch, "step": first + step, "lr": 2e-4, "discriminator": 1 / (first + step)}
        for step in range(1, steps + 1)
    ]
    return [*logged, {"epoch": epoch, "step": first + steps, "val_l1": 0.5 / epoch}]


def make_grid(level: int) -> bytes:
    return encode_jpeg(np.full((8, 12, 3), level, np.uint8), quality=92)


def test_tensorboard_reads_a_folder_as_one_run(tmp_path: Path) -> None:
    for epoch in (1, 2, 10):
        path = tmp_path / events_name(epoch)
        path.parent.mkdir(exist_ok=True)
        images = {"samples/pairs": make_grid(epoch)} if epoch != 2 else {}
        path.write_bytes(serialize_events(make_lines(epoch), images, 4 * epoch))
    read = EventAccumulator(str(tmp_path / "events"), {"images": 0, "scalars": 0})
    read.Reload()
    assert read.Tags()["scalars"] == ["lr", "loss/discriminator", "loss/val_l1"]
    events = read.Scalars("loss/discriminator")
    assert [event.step for event in events] == [*range(1, 9), *range(37, 41)]
    assert np.allclose([event.value for event in events], [1 / event.step for event in events])
    assert [event.step for event in read.Scalars("loss/val_l1")] == [4, 8, 40]
    images = read.Images("samples/pairs")
    assert [(image.step, image.width, image.height) for image in images] == [
        (4, 12, 8),
        (40, 12, 8),
    ]
    assert images[1].encoded_image_string == make_grid(10)


def test_events_contain_no_wall_clock_or_host(tmp_path: Path) -> None:
    name = tmp_path / "events.out.tfevents.x"
    name.write_bytes(serialize_events(make_lines(1), {"samples/pairs": make_grid(3)}, 4))
    read = EventAccumulator(str(tmp_path), {"images": 0, "scalars": 0})
    read.Reload()
    times = [event.wall_time for event in read.Scalars("lr")]
    assert times == [event.step for event in read.Scalars("lr")] == [1, 2, 3, 4]
    assert [image.wall_time for image in read.Images("samples/pairs")] == [4]
    assert name.read_bytes() == serialize_events(make_lines(1), {"samples/pairs": make_grid(3)}, 4)


def test_truncated_file_is_detected() -> None:
    data = serialize_events(make_lines(1, steps=1), {}, 1)
    complete_lengths = [end for end in range(len(data) + 1) if is_complete_file(data[:end])]
    assert complete_lengths[-1] == len(data)
    assert len(complete_lengths) == 3, "after each of the three records"


def test_epoch_without_lines_has_a_valid_file(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.x").write_bytes(serialize_events([], {}, 7))
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert read.Tags()["scalars"] == []
    assert read.file_version == 2
