import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.training.plot import render_loss_plot

# Matplotlib's own colours of the curves.
COLOURS = {
    "discriminator": (31, 119, 180),
    "adversarial": (255, 127, 14),
    "l1": (44, 160, 44),
    "val_l1": (214, 39, 40),
    "lr": (148, 103, 189),
}


def log(steps: int, skipped: float = 0) -> list[dict[str, float]]:
    lines: list[dict[str, float]] = []
    for step in range(10, 10 * steps + 1, 10):
        figures = {name: 1 + 1 / step for name in COLOURS if name != "val_l1"}
        lines.append({"epoch": 1, "step": step, **figures, "skipped": skipped})
        lines[-1]["generator_gradient"] = lines[-1]["discriminator_gradient"] = float(step)
    return [*lines, {"epoch": 1, "step": 10 * steps, "val_l1": 0.5}]


def pixels(png: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def count(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(2).sum())


def test_every_curve_is_there() -> None:
    picture = pixels(render_loss_plot(log(60), "tiny"))
    assert picture.shape == (900, 1000, 3)
    for name, colour in COLOURS.items():
        assert count(picture, colour) > 20, name


def test_what_was_not_logged_is_not_drawn() -> None:
    lines = [line for line in log(5) if "val_l1" not in line]
    assert count(pixels(render_loss_plot(lines, "tiny")), COLOURS["val_l1"]) == 0
    assert pixels(render_loss_plot([], "tiny")).shape == (900, 1000, 3)


def test_a_single_line_is_seen() -> None:
    picture = pixels(render_loss_plot(log(1), "tiny"))
    assert count(picture, COLOURS["l1"]) > 5


def test_skipped_steps_are_marked() -> None:
    clean, marked = (pixels(render_loss_plot(log(5, skipped), "tiny")) for skipped in (0, 1))
    assert count(marked, (0, 0, 0)) > count(clean, (0, 0, 0)) + 50


def test_the_same_log_gives_the_same_bytes() -> None:
    made = render_loss_plot(log(5), "tiny")
    assert made == render_loss_plot(log(5), "tiny")
    assert b"Matplotlib" not in made
