"""The page that tells what became of every picture; it needs no server and no network."""

import base64
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from datasets import DataSet
from storage.manifest import Row

_LISTED_REJECTS = 200
_BINS = 30

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_report(
    dataset: DataSet,
    fingerprint: str,
    settings: dict[str, object],
    rows: list[Row],
    sheet: bytes | None,
) -> str:
    """Return the report of a pair set as one self-contained HTML page.

    Parameters
    ----------
    dataset, fingerprint, settings : what was made, and how.
    rows : the manifest.
    sheet : the contact sheet as JPEG; None where there is no pair.
    """
    pairs = [row for row in rows if row.status == "pair"]
    rejected = [row for row in rows if row.status == "rejected"]
    densities = [row.edge_density for row in pairs if row.edge_density is not None]
    return _templates.get_template("report.html.j2").render(
        dataset=dataset,
        fingerprint=fingerprint,
        settings=dict(_flatten(settings)),
        total=len(rows),
        pairs=len(pairs),
        splits=Counter(row.split for row in pairs),
        reasons=Counter(row.reason for row in rejected).most_common(),
        rejected=rejected[:_LISTED_REJECTS],
        more_rejected=max(0, len(rejected) - _LISTED_REJECTS),
        histogram=_histogram(densities),
        median=float(np.median(densities)) if densities else None,
        sheet=None if sheet is None else inline_jpeg(sheet),
    )


def inline_jpeg(data: bytes, width: int | None = None) -> str:
    """Return a JPEG as a ``data:`` URL, scaled down to a width in pixels where one is given."""
    if width is not None:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is not None and image.shape[1] > width:
            height = round(image.shape[0] * width / image.shape[1])
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _flatten(facts: dict[str, object], prefix: str = "") -> list[tuple[str, object]]:
    flat: list[tuple[str, object]] = []
    for name, value in facts.items():
        if isinstance(value, dict):
            flat += _flatten(value, f"{prefix}{name}.")
        else:
            flat.append((prefix + name, value))
    return flat


def _histogram(densities: list[float]) -> list[tuple[float, float, int]]:
    """Return (from, to, pairs) for each bin; densities are shares in [0, 1]."""
    if not densities:
        return []
    top = max(0.01, float(np.max(densities)))
    counts, edges = np.histogram(densities, bins=_BINS, range=(0, top))
    return [
        (float(low), float(high), int(count))
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
