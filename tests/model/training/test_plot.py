import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.training.plot import render_loss_plot

# Matplotlib's default colors of the curves.
COLORS = {
    "discriminator": (31, 119, 180),
    "adversarial": (255, 127, 14),
    "l1": (44, 160, 44),
    "val_l1": (214, 39, 40),
    "lr": (148, 103, 189),
}


def make_log(steps: int, skipped: float = 0) -> list[dict[str, float]]:
    lines: list[dict[str, float]] = []
    for step in range(10, 10 * steps + 1, 10):
        metrics = {name: 1 + 1 / step for name in COLORS if name != "val_l1"}
        lines.append({"epoch": 1, "step": step, **metrics, "skipped": skipped})
        lines[-1]["generator_gradient"] = lines[-1]["discriminator_gradient"] = float(step)
    return [*lines, {"epoch": 1, "step": 10 * steps, "val_l1": 0.5}]


def decode(png: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def count_pixels(picture: NDArray[np.uint8], color: tuple[int, int, int]) -> int:
    return int((picture == color).all(2).sum())


def test_plot_has_every_curve() -> None:
    picture = decode(render_loss_plot(make_log(60), "tiny"))
    assert picture.shape == (900, 1000, 3)
    for name, color in COLORS.items():
        assert count_pixels(picture, color) > 20, name


def test_missing_metrics_are_not_plotted() -> None:
    lines = [line for line in make_log(5) if "val_l1" not in line]
    assert count_pixels(decode(render_loss_plot(lines, "tiny")), COLORS["val_l1"]) == 0
    assert decode(render_loss_plot([], "tiny")).shape == (900, 1000, 3)


def test_single_line_is_visible() -> None:
    picture = decode(render_loss_plot(make_log(1), "tiny"))
    assert count_pixels(picture, COLORS["l1"]) > 5


def test_skipped_steps_are_marked() -> None:
    clean, marked = (decode(render_loss_plot(make_log(5, skipped), "tiny")) for skipped in (0, 1))
    assert count_pixels(marked, (0, 0, 0)) > count_pixels(clean, (0, 0, 0)) + 50


def test_equal_logs_give_equal_bytes() -> None:
    png = render_loss_plot(make_log(5), "tiny")
    assert png == render_loss_plot(make_log(5), "tiny")
    assert b"Matplotlib" not in png
