"""The task that compares checkpoints and stores the table, the sheet and the vote page."""

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
from model.evaluation.compare import EvaluationCallbacks, LineSettings, compare_checkpoints
from model.evaluation.comparison import SKETCHES, VALIDATION, CheckpointComparison, CheckpointResult
from model.evaluation.metrics import METRICS
from model.evaluation.metrics.features import WEIGHTS_NAME, has_feature_extractor
from reports.comparison_sheet import render_comparison_sheet
from reports.comparison_table import comparison_to_frame, comparison_to_markdown
from reports.pair_set_report import inline_jpeg
from reports.vote_page import render_vote_page
from sources import DatasetConfig
from sources.pictures import hash_pixels
from storage import ObjectStore, keys, open_store
from storage.fingerprint import fingerprint
from storage.pair_sets import read_settings
from tasks.artifacts import create_artifact, render_link
from tasks.detector import format_weights_id, get_detector
from tasks.interrupts import raise_if_interrupted
from tasks.progress import advance, progress_bar, set_progress

# Pixels. Prefect stores artifacts in its database: keep images small.
_SHEET_WIDTH = 1200

_LOGGED_METRICS = (
    (VALIDATION, "l1"),
    (VALIDATION, "ms_ssim"),
    (SKETCHES, "edge_f1"),
    (SKETCHES, "kid_efflite0"),
)


@dataclass(frozen=True)
class StoredComparison:
    """A comparison and its location in the store.

    Attributes
    ----------
    dataset : str
        Name of the data set.
    fingerprint : str
        Fingerprint of the comparison's settings, 12 hex digits.
    comparison : CheckpointComparison
        The metrics.
    """

    dataset: str
    fingerprint: str
    comparison: CheckpointComparison

    @property
    def folder(self) -> str:
        """Key of the folder that holds settings.json, table.csv, sheet.jpg and vote.html."""
        return keys.comparison_folder(self.dataset, self.fingerprint)


@task(task_run_name="compare {dataset.name}", cache_policy=NO_CACHE)
def compare(
    dataset: DatasetConfig,
    pairs: str,
    store_url: str,
    candidates: Sequence[Candidate],
    sketches: Mapping[str, NDArray[np.uint8]],
    pictures: int,
) -> StoredComparison:
    """Compare checkpoints on validation pairs and on hand-drawn sketches.

    See ``model.evaluation.compare``.

    Parameters
    ----------
    dataset : DatasetConfig
        Data set of the checkpoints.
    pairs : str
        Fingerprint of its pair set.
    store_url : str
        URL of the store.
    candidates : sequence of Candidate
        Checkpoints to compare.
    sketches : mapping of str to ndarray
        Hand-drawn sketches by name, dtype uint8, shape (H, W, 3).
    pictures : int
        Maximum number of validation pairs, and of sketches.

    Returns
    -------
    StoredComparison
        The comparison and its location.

    Raises
    ------
    InputError
        If there are neither validation pairs nor sketches, or no training pictures.
    IntegrityError
        If no checkpoint can be loaded, or a pair is corrupt.
    """
    logger = get_run_logger()
    store = open_store(store_url)
    hed, lines = _load_line_settings(store, dataset, pairs)
    settings: dict[str, object] = {
        "format": 1,
        "pairs": pairs,
        "checkpoints": {candidate.name: candidate.sha256 for candidate in candidates},
        "production": next((it.name for it in candidates if it.promoted), None),
        "sketches": {name: hash_pixels(sketch) for name, sketch in sketches.items()},
        "pictures": pictures,
        "weights": format_weights_id(hed.weights),
        "engine": hed.engine.description,
        "border": hed.border,
        "threshold": lines.threshold,
        "min_pixels": lines.min_pixels,
        "features": WEIGHTS_NAME if has_feature_extractor() else None,
    }
    bar_name = f"{dataset.name}: compare"
    with progress_bar(bar_name, unit="pictures"):
        comparison = compare_checkpoints(
            store,
            dataset.name,
            pairs,
            candidates,
            sketches,
            hed,
            lines,
            pictures,
            EvaluationCallbacks(
                on_start=lambda total: set_progress(bar_name, 0, total),
                on_picture=lambda: advance(bar_name),
                raise_if_interrupted=raise_if_interrupted,
                on_result=lambda result: logger.info(
                    "%s: %s", dataset.name, _format_result(result)
                ),
                on_note=lambda note: logger.warning("%s: %s", dataset.name, note),
            ),
        )
    stored = StoredComparison(dataset.name, fingerprint(settings), comparison)
    page = render_vote_page(dataset.title, dataset.name, stored.fingerprint, comparison, settings)
    sheet = render_comparison_sheet(comparison)
    for file_name, content in (
        ("settings.json", json.dumps(settings, indent=2).encode()),
        ("table.csv", comparison_to_frame(comparison).to_csv(index=False).encode()),
        ("sheet.jpg", sheet),
        ("vote.html", page.encode()),
    ):
        store.put(f"{stored.folder}/{file_name}", content)
    create_artifact(
        key=f"comparison-{dataset.name}",
        description=f"{len(comparison.results)} checkpoints of {dataset.title}",
        markdown=render_artifact(stored, sheet, store),
    )
    return stored


def render_artifact(stored: StoredComparison, sheet: bytes, store: ObjectStore) -> str:
    """Render a comparison as Markdown.

    Parameters
    ----------
    stored : StoredComparison
        The comparison.
    sheet : bytes
        Its comparison sheet, a JPEG.
    store : ObjectStore
        Store that contains the linked files.

    Returns
    -------
    str
        Notes, table, image of the sheet, and links to the files.
    """
    comparison = stored.comparison
    image = inline_jpeg(sheet, width=_SHEET_WIDTH)
    files = {
        "Vote on this page": f"{stored.folder}/vote.html",
        "Full sheet": f"{stored.folder}/sheet.jpg",
        "All metrics": f"{stored.folder}/table.csv",
    }
    parts = [
        *(f"- {note}" for note in comparison.notes),
        comparison_to_markdown(comparison),
        f"![drawings, checkpoints, nearest training picture]({image})",
        "\n".join(f"- {title}: {render_link(store, key)}" for title, key in files.items()),
    ]
    return "\n\n".join(parts)


def _load_line_settings(
    store: ObjectStore, dataset: DatasetConfig, pairs: str
) -> tuple[EdgeDetector, LineSettings]:
    """Return the edge detector and the line settings of a pair set.

    Settings that the pair set lacks are taken from the data set.
    """
    edges = read_settings(store, dataset.name, pairs).get("edges", {})
    hed = get_detector(int(edges.get("border", dataset.edges.border)))
    threshold = edges.get("threshold", dataset.edges.threshold)
    min_pixels = int(edges.get("min_pixels", dataset.edges.min_pixels))
    return hed, LineSettings(hed.weights.resolve_threshold(threshold), min_pixels)


def _format_result(result: CheckpointResult) -> str:
    metrics = {metric.key: metric for metric in METRICS}
    values = [
        f"{metrics[key].title} {result.metrics[drawings][key].value:.{metrics[key].decimals}f}"
        for drawings, key in _LOGGED_METRICS
        if key in result.metrics.get(drawings, {})
    ]
    return f"{result.name}: {', '.join(values)}"
