"""The task that judges checkpoints and keeps table, sheet and voting page in the store."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from hed import EdgeDetector
from model.evaluation.candidates import Candidate
from model.evaluation.compare import Hooks, LineSettings
from model.evaluation.compare import compare as compare_on
from model.evaluation.comparison import SKETCHES, VALIDATION, Column, Comparison
from model.evaluation.metrics import METRICS
from model.evaluation.metrics.features import NAME, has_features
from reports.comparison_sheet import draw_sheet
from reports.comparison_table import as_frame, as_markdown
from reports.pair_set_report import inline_jpeg
from reports.vote_page import render_page
from sources import DataSet
from sources.pictures import hash_pixels
from storage import ObjectStore, keys, open_store
from storage.fingerprint import fingerprint
from storage.pair_sets import read_settings
from tasks.artifacts import link, show
from tasks.detector import detector, weights_name
from tasks.interrupts import stop_if_interrupted
from tasks.progress import advance, bar, move

# A picture in an artifact is part of the database: small.
_WIDTH = 1200

_LOGGED = (
    (VALIDATION, "l1"),
    (VALIDATION, "ms_ssim"),
    (SKETCHES, "edge_f1"),
    (SKETCHES, "kid_efflite0"),
)


@dataclass(frozen=True)
class Compared:
    """A comparison that is in the store.

    Attributes
    ----------
    dataset, fingerprint : which one.
    comparison : what was found.
    """

    dataset: str
    fingerprint: str
    comparison: Comparison

    @property
    def folder(self) -> str:
        """Key of the folder that holds settings.json, table.csv, sheet.jpg and vote.html."""
        return keys.comparison_folder(self.dataset, self.fingerprint)


@task(task_run_name="compare {dataset.name}", cache_policy=NO_CACHE)
def compare(
    dataset: DataSet,
    pairs: str,
    store_url: str,
    candidates: Sequence[Candidate],
    sketches: Mapping[str, NDArray[np.uint8]],
    pictures: int,
) -> Compared:
    """Judge checkpoints on validation pairs and drawings by hand.

    See ``model.evaluation.compare``.
    """
    logger = get_run_logger()
    store = open_store(store_url)
    hed, lines = _find_lines(store, dataset, pairs)
    facts: dict[str, object] = {
        "format": 1,
        "pairs": pairs,
        "checkpoints": {one.name: one.sha256 for one in candidates},
        "production": next((one.name for one in candidates if one.promoted), None),
        "sketches": {name: hash_pixels(sketch) for name, sketch in sketches.items()},
        "pictures": pictures,
        "weights": weights_name(hed.weights),
        "engine": hed.engine.title,
        "border": hed.border,
        "threshold": lines.threshold,
        "min_pixels": lines.min_pixels,
        "features": NAME if has_features() else None,
    }
    name = f"{dataset.name}: compare"
    with bar(name, unit="pictures"):
        found = compare_on(
            store,
            dataset.name,
            pairs,
            candidates,
            sketches,
            hed,
            lines,
            pictures,
            Hooks(
                on_start=lambda total: move(name, 0, total),
                on_picture=lambda: advance(name),
                check=stop_if_interrupted,
                on_column=lambda column: logger.info("%s: %s", dataset.name, _in_a_line(column)),
                on_note=lambda what: logger.warning("%s: %s", dataset.name, what),
            ),
        )
    compared = Compared(dataset.name, fingerprint(facts), found)
    page = render_page(dataset.title, dataset.name, compared.fingerprint, found, facts)
    sheet = draw_sheet(found)
    for file, content in (
        ("settings.json", json.dumps(facts, indent=2).encode()),
        ("table.csv", as_frame(found).to_csv(index=False).encode()),
        ("sheet.jpg", sheet),
        ("vote.html", page.encode()),
    ):
        store.put(f"{compared.folder}/{file}", content)
    show(
        key=f"comparison-{dataset.name}",
        description=f"{len(found.columns)} checkpoints of {dataset.title}",
        markdown=describe(compared, sheet, store),
    )
    return compared


def describe(compared: Compared, sheet: bytes, store: ObjectStore) -> str:
    """Return a comparison as Markdown, with its sheet in it."""
    found = compared.comparison
    places = {
        "Vote on this page": f"{compared.folder}/vote.html",
        "The sheet in full": f"{compared.folder}/sheet.jpg",
        "All figures": f"{compared.folder}/table.csv",
    }
    parts = [
        *(f"- {note}" for note in found.notes),
        as_markdown(found),
        f"![drawings, checkpoints, nearest training picture]({inline_jpeg(sheet, width=_WIDTH)})",
        "\n".join(f"- {what}: {link(store, key)}" for what, key in places.items()),
    ]
    return "\n\n".join(parts)


def _find_lines(
    store: ObjectStore, dataset: DataSet, pairs: str
) -> tuple[EdgeDetector, LineSettings]:
    """Return what finds edges, and how they become lines: as for the pair set where it tells."""
    used = read_settings(store, dataset.name, pairs).get("edges", {})
    hed = detector(int(used.get("border", dataset.edges.border)))
    threshold = used.get("threshold", dataset.edges.threshold)
    min_pixels = int(used.get("min_pixels", dataset.edges.min_pixels))
    return hed, LineSettings(hed.weights.threshold_or(threshold), min_pixels)


def _in_a_line(column: Column) -> str:
    titles = {metric.key: metric for metric in METRICS}
    told = [
        f"{titles[key].title} {column.figures[drawings][key].value:.{titles[key].digits}f}"
        for drawings, key in _LOGGED
        if key in column.figures.get(drawings, {})
    ]
    return f"{column.name}: {', '.join(told)}"
