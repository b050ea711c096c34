"""The task that searches for the edge threshold at which HED reproduces published drawings best."""

import base64
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import tee

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE

from config.errors import InputError
from hed import EdgeDetector
from postprocess import LineMatchCounts, clean_edges, compare_drawings, decode_pair, split_pair
from sources import DatasetConfig
from storage import keys, open_store
from storage.fingerprint import fingerprint
from storage.manifest import ManifestRow
from storage.pair_reader import PairReader, open_pairs
from storage.pair_sets import read_manifest, read_settings
from tasks.artifacts import create_artifact
from tasks.detector import format_weights_id, get_detector
from tasks.interrupts import raise_if_interrupted
from tasks.progress import advance, progress_bar

# Pixels, ascending. The largest tolerance selects the best threshold.
TOLERANCES = (1, 2)

_THRESHOLDS = [step / 20 for step in range(1, 20)]

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class ThresholdResult:
    """Agreement of HED's lines with all published drawings at one threshold.

    Attributes
    ----------
    threshold : float
        Edge threshold, in (0, 1).
    line_matches : tuple of LineMatchCounts
        Matching line pixels, one entry per tolerance in ``TOLERANCES``.
    """

    threshold: float
    line_matches: tuple[LineMatchCounts, ...]


@dataclass(frozen=True)
class Calibration:
    """Result of a threshold sweep.

    Attributes
    ----------
    dataset : str
        Name of the data set.
    settings : dict
        Settings of the sweep. Their fingerprint names the folder of the calibration.
    pictures : int
        Number of compared drawings.
    results : list of ThresholdResult
        In ascending order of the threshold.
    default_threshold : float or None
        Default threshold of the HED weights; None if they have none.
    """

    dataset: str
    settings: dict[str, object]
    pictures: int
    results: list[ThresholdResult]
    default_threshold: float | None

    @property
    def best(self) -> ThresholdResult:
        """Result with the highest F1 at the largest tolerance."""
        return max(self.results, key=lambda result: result.line_matches[-1].f1)

    @property
    def folder(self) -> str:
        """Key of the folder that holds settings.json, table.csv and plot.png."""
        return keys.calibration_folder(self.dataset, fingerprint(self.settings))

    def to_frame(self) -> pd.DataFrame:
        """Return the results as a table.

        Returns
        -------
        DataFrame
            One row per threshold. Columns: ``threshold``, and ``f1_1px``, ``precision_1px``,
            ``recall_1px`` and so on for each tolerance, all in [0, 1].
        """
        rows = []
        for result in self.results:
            row = {"threshold": result.threshold}
            for tolerance, matches in zip(TOLERANCES, result.line_matches, strict=True):
                row[f"f1_{tolerance}px"] = matches.f1
                row[f"precision_{tolerance}px"] = matches.precision
                row[f"recall_{tolerance}px"] = matches.recall
            rows.append(row)
        return pd.DataFrame(rows)


@task(task_run_name="calibrate {dataset.name}", cache_policy=NO_CACHE)
def calibrate(dataset: DatasetConfig, pairs: str, store_url: str, pictures: int) -> Calibration:
    """Compare HED with published drawings at many thresholds; store settings, table and plot.

    Parameters
    ----------
    dataset : DatasetConfig
        Data set of published pairs.
    pairs : str
        Fingerprint of its pair set.
    store_url : str
        URL of the store.
    pictures : int
        Maximum number of pictures to compare, evenly spaced over the pair set.

    Returns
    -------
    Calibration
        Results at all thresholds.

    Raises
    ------
    InputError
        If the drawings were extracted by HED, or the pair set contains no pairs.
    """
    store = open_store(store_url)
    settings = read_settings(store, dataset.name, pairs)
    if not settings.get("paired"):
        raise make_hed_drawings_error(dataset.name)
    if settings.get("re_extract"):
        raise InputError(
            f"The current drawings of {dataset.name} were extracted by HED. Run `icanvas prepare` "
            "without --re-extract to use the published ones."
        )
    rows = [row for row in read_manifest(store, dataset.name, pairs) if row.status == "pair"]
    if not rows:
        raise InputError(
            f"{dataset.source.title} contains no pairs (drawing beside its picture, 512×256 px). "
            "Calibrate on a data set that was published with drawings."
        )
    selected = _select_evenly(rows, pictures)
    bar_name = f"{dataset.name}: calibrate"
    with progress_bar(bar_name, len(selected), "pictures"):
        hed = get_detector(dataset.edges.border)
        published_pairs = _read_pairs(open_pairs(store, dataset.name, pairs, settings), selected)
        results = sweep_thresholds(
            published_pairs, hed, dataset.edges.min_pixels, lambda: advance(bar_name)
        )
    calibration_settings: dict[str, object] = {
        "pairs": pairs,
        "pictures": len(selected),
        "weights": format_weights_id(hed.weights),
        "engine": hed.engine.description,
        "border": dataset.edges.border,
        "min_pixels": dataset.edges.min_pixels,
    }
    calibration = Calibration(
        dataset.name, calibration_settings, len(selected), results, hed.weights.threshold
    )
    plot = render_plot(calibration)
    for file_name, content in (
        ("settings.json", json.dumps(calibration_settings, indent=2).encode()),
        ("table.csv", calibration.to_frame().to_csv(index=False).encode()),
        ("plot.png", plot),
    ):
        store.put(f"{calibration.folder}/{file_name}", content)
    create_artifact(
        key=f"calibration-{dataset.name}",
        description=(
            f"Edge threshold for {calibration_settings['weights']} by {calibration.pictures} "
            "drawings"
        ),
        markdown=(
            f"![F1 by threshold](data:image/png;base64,{base64.b64encode(plot).decode()})\n\n"
            + _render_markdown(calibration)
        ),
    )
    return calibration


def make_hed_drawings_error(dataset: str) -> InputError:
    """Create the error for a data set that was not published with drawings.

    Parameters
    ----------
    dataset : str
        Name of the data set.

    Returns
    -------
    InputError
        The error, to be raised by the caller.
    """
    return InputError(
        f"The drawings of {dataset} were extracted by HED. Calibrate on a data set that was "
        "published with drawings, or on a folder of pairs (drawing | picture)."
    )


def sweep_thresholds(
    pairs: Iterable[Pair], hed: EdgeDetector, min_pixels: int, on_picture: Callable[[], None]
) -> list[ThresholdResult]:
    """Compare HED's lines with published drawings at every threshold.

    Parameters
    ----------
    pairs : iterable of (ndarray, ndarray)
        Drawings of dtype uint8 and shape (H, W), and pictures of dtype uint8 and shape (H, W, 3).
    hed : EdgeDetector
        Detector that computes the edge maps.
    min_pixels : int
        Minimum size of a connected line, in pixels. Smaller ones are removed.
    on_picture : callable
        Called without arguments after each picture.

    Returns
    -------
    list of ThresholdResult
        One result each for 0.05, 0.10, … 0.95 and the weights' default threshold, in ascending
        order of the threshold.
    """
    default_threshold = hed.weights.threshold
    thresholds = sorted({*_THRESHOLDS, *([] if default_threshold is None else [default_threshold])})
    matches = {
        (threshold, tolerance): LineMatchCounts()
        for threshold in thresholds
        for tolerance in TOLERANCES
    }
    pairs, pairs_for_hed = tee(pairs)
    edge_maps = hed.stream(picture for _, picture in pairs_for_hed)
    for (published, _), edges in zip(pairs, edge_maps, strict=False):
        assert edges is not None, "every pair has a picture"
        for threshold in thresholds:
            drawing = clean_edges(edges, threshold, min_pixels)
            for tolerance in TOLERANCES:
                matches[threshold, tolerance] += compare_drawings(drawing, published, tolerance)
        on_picture()
    return [
        ThresholdResult(threshold, tuple(matches[threshold, tolerance] for tolerance in TOLERANCES))
        for threshold in thresholds
    ]


def render_plot(calibration: Calibration) -> bytes:
    """Plot F1 at each tolerance, and precision and recall at the largest, over the threshold.

    Parameters
    ----------
    calibration : Calibration
        Results to plot.

    Returns
    -------
    bytes
        A PNG of 770×495 pixels.
    """
    weights = str(calibration.settings["weights"])
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    table, max_tolerance = calibration.to_frame(), TOLERANCES[-1]
    for tolerance, style in zip(TOLERANCES, ("C0", "C1"), strict=True):
        axes.plot(
            table["threshold"],
            table[f"f1_{tolerance}px"],
            f"{style}o-",
            label=f"F1 at {tolerance} px",
        )
    for metric, style in (("precision", "C2--"), ("recall", "C3--")):
        values = table[f"{metric}_{max_tolerance}px"]
        axes.plot(table["threshold"], values, style, label=f"{metric} at {max_tolerance} px")
    best, f1 = calibration.best.threshold, calibration.best.line_matches[-1].f1
    axes.plot(best, f1, "k*", markersize=12, label=f"best: {f1:.3f} at threshold {best:.3g}")
    if calibration.default_threshold is not None:
        axes.axvline(
            calibration.default_threshold,
            color="0.6",
            linestyle=":",
            label="default threshold of the weights",
        )
    axes.set(
        xlabel="edge threshold",
        ylabel="agreement with the published drawings",
        xlim=(0, 1),
        ylim=(0, 1.05),
        title=f"{calibration.dataset}: {calibration.pictures} drawings, {weights[:18]}…",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower center")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _render_markdown(calibration: Calibration) -> str:
    frame = calibration.to_frame()
    lines = [list(frame.columns), ["---"] * len(frame.columns)]
    lines += [[f"{value:.3f}" for value in row] for row in frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _select_evenly(rows: list[ManifestRow], limit: int) -> list[ManifestRow]:
    indices = np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(int)
    return [rows[index] for index in indices]


def _read_pairs(reader: PairReader, rows: list[ManifestRow]) -> Iterator[Pair]:
    for row in rows:
        raise_if_interrupted()
        yield split_pair(decode_pair(reader.read(row)), reader.drawing_side)
