from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.training.tensorboard import events_name, is_complete_file, serialize_events
from postprocess import encode_jpeg


def lines(epoch: int, steps: int = 4) -> list[dict[str, float]]:
    first = (epoch - 1) * steps
    logged: list[dict[str, float]] = [
        {"epoch": epoch, "step": first + step, "lr": 2e-4, "discriminator": 1 / (first + step)}
        for step in range(1, steps + 1)
    ]
    return [*logged, {"epoch": epoch, "step": first + steps, "val_l1": 0.5 / epoch}]


def grid(level: int) -> bytes:
    return encode_jpeg(np.full((8, 12, 3), level, np.uint8), quality=92)


def test_tensorboard_reads_the_files_of_a_folder_as_one_run(tmp_path: Path) -> None:
    for epoch in (1, 2, 10):
        path = tmp_path / events_name(epoch)
        path.parent.mkdir(exist_ok=True)
        images = {"samples/pairs": grid(epoch)} if epoch != 2 else {}
        path.write_bytes(serialize_events(lines(epoch), images, 4 * epoch))
    read = EventAccumulator(str(tmp_path / "events"), {"images": 0, "scalars": 0})
    read.Reload()
    assert read.Tags()["scalars"] == ["lr", "loss/discriminator", "loss/val_l1"]
    shown = read.Scalars("loss/discriminator")
    assert [event.step for event in shown] == [*range(1, 9), *range(37, 41)]
    assert np.allclose([event.value for event in shown], [1 / event.step for event in shown])
    assert [event.step for event in read.Scalars("loss/val_l1")] == [4, 8, 40]
    images = read.Images("samples/pairs")
    assert [(image.step, image.width, image.height) for image in images] == [
        (4, 12, 8),
        (40, 12, 8),
    ]
    assert images[1].encoded_image_string == grid(10)


def test_no_clock_and_no_host_is_in_them(tmp_path: Path) -> None:
    name = tmp_path / "events.out.tfevents.x"
    name.write_bytes(serialize_events(lines(1), {"samples/pairs": grid(3)}, 4))
    read = EventAccumulator(str(tmp_path), {"images": 0, "scalars": 0})
    read.Reload()
    times = [event.wall_time for event in read.Scalars("lr")]
    assert times == [event.step for event in read.Scalars("lr")] == [1, 2, 3, 4]
    assert [image.wall_time for image in read.Images("samples/pairs")] == [4]
    assert name.read_bytes() == serialize_events(lines(1), {"samples/pairs": grid(3)}, 4)


def test_one_that_is_cut_short_is_known() -> None:
    whole = serialize_events(lines(1, steps=1), {}, 1)
    found = [end for end in range(len(whole) + 1) if is_complete_file(whole[:end])]
    assert found[-1] == len(whole)
    assert len(found) == 3, "at the end of a record, of which there are three"


def test_an_epoch_without_a_line_is_a_file_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.x").write_bytes(serialize_events([], {}, 7))
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert read.Tags()["scalars"] == []
    assert read.file_version == 2
