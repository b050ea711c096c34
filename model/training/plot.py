"""Plot of a run's log."""

import io
from collections.abc import Iterable, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Span of the exponential smoothing, as a fraction of the run's lines.
_SMOOTHING_FRACTION = 1 / 20

# Curves with fewer points have a marker at each.
_MIN_POINTS_WITHOUT_MARKERS = 20

_LABELS = {
    "discriminator": "discriminator",
    "adversarial": "generator",
    "l1": "training",
    "val_l1": "validation",
    "discriminator_gradient": "discriminator",
    "generator_gradient": "generator",
}


def render_loss_plot(log: Iterable[Mapping[str, float]], title: str) -> bytes:
    """Plot losses, gradient norms and learning rate over the steps.

    Curves are smoothed, with the logged values faintly behind them. Equal logs give equal bytes
    with the same version of Matplotlib.

    Parameters
    ----------
    log : iterable of mapping
        Lines of metrics.jsonl; missing metrics are not plotted.
    title : str
        Title of the figure.

    Returns
    -------
    bytes
        PNG of 1000×900 pixels.
    """
    frame = pd.DataFrame(list(log))
    figure = Figure(figsize=(10, 9), dpi=100)
    FigureCanvasAgg(figure)
    adversarial, l1, gradients, lr = figure.subplots(
        4, sharex=True, gridspec_kw={"height_ratios": (3, 3, 3, 1)}
    )
    # Explicit margins: Matplotlib's automatic layout renders everything twice.
    figure.subplots_adjust(left=0.1, right=0.98, top=0.94, bottom=0.06, hspace=0.17)
    figure.suptitle(title, y=0.985)
    _plot_smoothed(adversarial, frame, {"discriminator": "C0", "adversarial": "C1"})
    _plot_smoothed(l1, frame, {"l1": "C2"})
    _plot_line(l1, frame, "val_l1", "C3", marker="o")
    _plot_smoothed(gradients, frame, {"discriminator_gradient": "C0", "generator_gradient": "C1"})
    _mark_skipped(gradients, frame)
    _plot_line(lr, frame, "lr", "C4")
    for axes, name in (
        (adversarial, "adversarial losses"),
        (l1, "L1, of pictures in [−1, 1]"),
        (gradients, "gradient norms"),
        (lr, "lr"),
    ):
        axes.set_ylabel(name)
        axes.yaxis.set_label_coords(-0.085, 0.5)
        axes.grid(alpha=0.3)
        if len(axes.get_legend_handles_labels()[1]) > 1:
            # Above the axes, where it hides no curve.
            axes.legend(loc="lower right", bbox_to_anchor=(1, 0.97), ncols=3, frameon=False)
    if gradients.lines:
        gradients.set_yscale("log", nonpositive="mask")
    lr.set(xlabel="step", xlim=(0, None), ylim=(0, None))
    lr.xaxis.set_major_locator(MaxNLocator(integer=True))
    lr.yaxis.set_major_locator(MaxNLocator(2))
    lr.yaxis.set_major_formatter("{x:.1e}")
    buffer = io.BytesIO()
    # Without Matplotlib's version.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _plot_smoothed(axes: Axes, frame: pd.DataFrame, colors: Mapping[str, str]) -> None:
    """Plot metrics as logged, faintly, and smoothed."""
    for name, color in colors.items():
        if name not in frame:
            continue
        logged = frame[["step", name]].dropna()
        smoothed = logged[name].ewm(span=max(1.0, _SMOOTHING_FRACTION * len(logged))).mean()
        # A line through one point is invisible.
        marker = "." if len(logged) < _MIN_POINTS_WITHOUT_MARKERS else ""
        axes.plot(logged["step"], logged[name], color=color, alpha=0.25, linewidth=1)
        axes.plot(logged["step"], smoothed, color=color, marker=marker, label=_LABELS[name])


def _plot_line(axes: Axes, frame: pd.DataFrame, name: str, color: str, marker: str = "") -> None:
    if name in frame:
        logged = frame[["step", name]].dropna()
        label = _LABELS.get(name)
        axes.plot(logged["step"], logged[name], color=color, marker=marker, ms=4, label=label)


def _mark_skipped(axes: Axes, frame: pd.DataFrame) -> None:
    """Mark the lines with skipped steps at the bottom."""
    if "skipped" in frame and (skipped := frame[frame["skipped"] > 0]).size:
        label = f"steps skipped: {skipped['skipped'].sum():.0f}"
        transform = axes.get_xaxis_transform()
        axes.plot(skipped["step"], [0.02] * len(skipped), "k^", transform=transform, label=label)
