"""The edge threshold that gives the drawings which a data set was published with."""

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
from postprocess import Agreement, clean_edges, compare_drawings, decode_pair, split_pair
from sources import DataSet
from storage import keys, open_store
from storage.fingerprint import fingerprint
from storage.manifest import Row
from storage.pair_sets import StoredPairs, locate_pairs, read_manifest, read_settings
from tasks.artifacts import show
from tasks.detector import detector, weights_name
from tasks.interrupts import stop_if_interrupted
from tasks.progress import advance, bar

# In pixels; the widest decides.
TOLERANCES = (1, 2)

_GRID = [step / 20 for step in range(1, 20)]

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class Point:
    """One threshold, and how far all drawings agree with it at each of ``TOLERANCES``."""

    threshold: float
    agreements: tuple[Agreement, ...]


@dataclass(frozen=True)
class Calibration:
    """What a sweep found.

    Attributes
    ----------
    dataset : whose drawings.
    settings : what it was made with; its fingerprint names it.
    pictures : how many drawings were compared.
    points : by threshold, rising.
    default : the weights' own threshold; None where they have none.
    """

    dataset: str
    settings: dict[str, object]
    pictures: int
    points: list[Point]
    default: float | None

    @property
    def best(self) -> Point:
        """The threshold with the best F1 at the widest tolerance."""
        return max(self.points, key=lambda point: point.agreements[-1].f1)

    @property
    def folder(self) -> str:
        """Key of the folder that holds settings.json, table.csv and plot.png."""
        return keys.calibration_folder(self.dataset, fingerprint(self.settings))

    def as_frame(self) -> pd.DataFrame:
        """Return columns ``threshold`` and ``f1_1px``, ``precision_1px`` …, all in [0, 1]."""
        rows = []
        for point in self.points:
            row = {"threshold": point.threshold}
            for far, agreement in zip(TOLERANCES, point.agreements, strict=True):
                row[f"f1_{far}px"] = agreement.f1
                row[f"precision_{far}px"] = agreement.precision
                row[f"recall_{far}px"] = agreement.recall
            rows.append(row)
        return pd.DataFrame(rows)


@task(task_run_name="calibrate {dataset.name}", cache_policy=NO_CACHE)
def calibrate(dataset: DataSet, pairs: str, store_url: str, pictures: int) -> Calibration:
    """Sweep the threshold over a published pair set, and keep table and plot in the store.

    Raises
    ------
    InputError
        If the pair set's drawings did not come with the data set, or it is empty.
    """
    store = open_store(store_url)
    settings = read_settings(store, dataset.name, pairs)
    if not settings.get("paired"):
        raise drawn_by_hed(dataset.name)
    if settings.get("re_extract"):
        raise InputError(
            f"The drawings of {dataset.name} that are in use were extracted anew, by HED itself. "
            "Run `icanvas prepare` without --re-extract to use the published ones."
        )
    rows = [row for row in read_manifest(store, dataset.name, pairs) if row.status == "pair"]
    if not rows:
        raise InputError(
            f"{dataset.source.title} holds no pair (drawing beside its picture, 512×256 px): there "
            "is nothing to compare with."
        )
    chosen = _choose_evenly(rows, pictures)
    name = f"{dataset.name}: calibrate"
    with bar(name, len(chosen), "pictures"):
        hed = detector(dataset.edges.border)
        drawn = _read_pairs(locate_pairs(store, dataset.name, pairs, settings), chosen)
        points = sweep(drawn, hed, dataset.edges.min_pixels, lambda: advance(name))
    facts: dict[str, object] = {
        "pairs": pairs,
        "pictures": len(chosen),
        "weights": weights_name(hed.weights),
        "engine": hed.engine.title,
        "border": dataset.edges.border,
        "min_pixels": dataset.edges.min_pixels,
    }
    found = Calibration(dataset.name, facts, len(chosen), points, hed.weights.threshold)
    plot = draw_plot(found)
    store.put(f"{found.folder}/settings.json", json.dumps(facts, indent=2).encode())
    store.put(f"{found.folder}/table.csv", found.as_frame().to_csv(index=False).encode())
    store.put(f"{found.folder}/plot.png", plot)
    show(
        key=f"calibration-{dataset.name}",
        description=f"Edge threshold for {facts['weights']} by {found.pictures} drawings",
        markdown=(
            f"![F1 by threshold](data:image/png;base64,{base64.b64encode(plot).decode()})\n\n"
            + _as_markdown(found)
        ),
    )
    return found


def drawn_by_hed(dataset: str) -> InputError:
    """Return what to raise for a data set that was not published with drawings."""
    return InputError(
        f"The drawings of {dataset} are made by HED itself. Calibrate on a data set that was "
        "published with drawings, or on a folder of pairs (drawing | picture)."
    )


def sweep(
    pairs: Iterable[Pair], hed: EdgeDetector, min_pixels: int, on_picture: Callable[[], None]
) -> list[Point]:
    """Compare the edges of pictures with their published drawings, at every threshold.

    Parameters
    ----------
    pairs : (drawing uint8 H×W, picture uint8 H×W×3).
    hed : finds the edges.
    min_pixels : smaller parts of lines are removed.
    on_picture : called after each picture.
    """
    own = hed.weights.threshold
    thresholds = sorted({*_GRID, *([] if own is None else [own])})
    totals = {(step, far): Agreement() for step in thresholds for far in TOLERANCES}
    pairs, seen = tee(pairs)
    maps = hed.stream(picture for _, picture in seen)
    for (wanted, _), edges in zip(pairs, maps, strict=False):
        assert edges is not None, "every pair has a picture"
        for step in thresholds:
            drawing = clean_edges(edges, step, min_pixels)
            for far in TOLERANCES:
                totals[step, far] += compare_drawings(drawing, wanted, far)
        on_picture()
    return [Point(step, tuple(totals[step, far] for far in TOLERANCES)) for step in thresholds]


def draw_plot(found: Calibration) -> bytes:
    """Return F1 at each tolerance, and precision and recall, by threshold, as PNG."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    table, widest = found.as_frame(), TOLERANCES[-1]
    for far, style in zip(TOLERANCES, ("C0", "C1"), strict=True):
        axes.plot(table["threshold"], table[f"f1_{far}px"], f"{style}o-", label=f"F1 at {far} px")
    for share, style in (("precision", "C2--"), ("recall", "C3--")):
        values = table[f"{share}_{widest}px"]
        axes.plot(table["threshold"], values, style, label=f"{share} at {widest} px")
    best, f1 = found.best.threshold, found.best.agreements[-1].f1
    axes.plot(best, f1, "k*", markersize=12, label=f"best: {f1:.3f} at threshold {best:.3g}")
    if found.default is not None:
        axes.axvline(found.default, color="0.6", linestyle=":", label="the weights' own threshold")
    axes.set(
        xlabel="edge threshold",
        ylabel="agreement with the published drawings",
        xlim=(0, 1),
        ylim=(0, 1.05),
        title=f"{found.dataset}: {found.pictures} drawings, {str(found.settings['weights'])[:18]}…",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower center")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _as_markdown(found: Calibration) -> str:
    frame = found.as_frame()
    lines = [list(frame.columns), ["---"] * len(frame.columns)]
    lines += [[f"{value:.3f}" for value in row] for row in frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _choose_evenly(rows: list[Row], most: int) -> list[Row]:
    chosen = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
    return [rows[index] for index in chosen]


def _read_pairs(stored: StoredPairs, rows: list[Row]) -> Iterator[Pair]:
    for row in rows:
        stop_if_interrupted()
        yield split_pair(decode_pair(stored.read(row)), stored.drawing)
