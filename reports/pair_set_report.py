"""Report on the outcome for every picture of a pair set: a page without server or network."""

import base64
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from reports.thumbnails import Thumbnail
from sources import DatasetConfig
from storage.manifest import ManifestRow, rows_to_dataframe
from storage.raw_sets import LicenseAcceptance, Origin

_MAX_LISTED_REJECTED = 200
_NUM_BINS = 30

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_report(
    dataset: DatasetConfig,
    fingerprint: str,
    settings: dict[str, object],
    rows: list[ManifestRow],
    sheet: bytes | None,
    thumbnails: list[Thumbnail],
    hints: list[str],
    origin: Origin | None = None,
    acceptance: LicenseAcceptance | None = None,
) -> str:
    """Render the report of a pair set as one self-contained HTML page.

    Parameters
    ----------
    dataset : DatasetConfig
    fingerprint : str
        The pair set's fingerprint.
    settings : dict
        The settings that it was made with; may be nested.
    rows : list of ManifestRow
        The manifest.
    sheet : bytes or None
        The contact sheet as JPEG; None without pairs.
    thumbnails : list of Thumbnail
        Some rejected pictures, grouped by reason.
    hints : list of str
        Warnings and notes, one paragraph each.
    origin : Origin or None
        Source of the files, if known.
    acceptance : LicenseAcceptance or None
        Acceptance of the license, if it was required.

    Returns
    -------
    str
        HTML.
    """
    frame = rows_to_dataframe(rows)
    pairs = frame[frame["status"] == "pair"]
    rejected = frame[frame["status"] == "rejected"]
    densities = pairs["edge_density"].to_numpy(float)
    return render_template(
        "pair_set_report.html.j2",
        dataset=dataset,
        origin=origin,
        acceptance=acceptance,
        hints=hints,
        fingerprint=fingerprint,
        settings=dict(flatten_settings(settings)),
        total=len(rows),
        pairs=len(pairs),
        splits={split: int((pairs["split"] == split).sum()) for split in ("train", "val")},
        reasons=list(rejected["reason"].value_counts().items()),
        rejected=rejected.head(_MAX_LISTED_REJECTED).to_dict("records"),
        more_rejected=max(0, len(rejected) - _MAX_LISTED_REJECTED),
        thumbnails=[
            (reason, [(thumbnail.row, inline_jpeg(thumbnail.jpeg)) for thumbnail in group])
            for reason, group in groupby(thumbnails, lambda thumbnail: thumbnail.row.reason)
        ],
        histogram=_histogram(densities),
        median=float(np.median(densities)) if len(densities) else None,
        sheet=None if sheet is None else inline_jpeg(sheet),
    )


def inline_jpeg(data: bytes, width: int | None = None) -> str:
    """Return a JPEG as a ``data:`` URL.

    Parameters
    ----------
    data : bytes
        JPEG.
    width : int or None, pixels
        Larger images are scaled down to this width.

    Returns
    -------
    str
    """
    if width is not None:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is not None and image.shape[1] > width:
            height = round(image.shape[0] * width / image.shape[1])
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
            data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def render_template(template: str, **values: object) -> str:
    """Render a template of this package.

    Parameters
    ----------
    template : str
        File name in ``reports/templates``.
    **values : object
        Variables of the template.

    Returns
    -------
    str
        HTML.
    """
    return _templates.get_template(template).render(**values)


def flatten_settings(nested: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    """Flatten nested settings to pairs of a dotted name and a value.

    Parameters
    ----------
    nested : mapping
    prefix : str
        Put before each name.

    Returns
    -------
    list of (str, object)

    Examples
    --------
    >>> flatten_settings({"edges": {"threshold": 0.5}, "format": 1})
    [('edges.threshold', 0.5), ('format', 1)]
    """
    flat: list[tuple[str, object]] = []
    for name, value in nested.items():
        if isinstance(value, dict):
            flat += flatten_settings(value, f"{prefix}{name}.")
        else:
            flat.append((prefix + name, value))
    return flat


def _histogram(densities: NDArray[np.float64]) -> list[tuple[float, float, int]]:
    """Return (low, high, number of pairs) for each bin of the densities, which are in [0, 1]."""
    if not len(densities):
        return []
    top = max(0.01, float(np.max(densities)))
    counts, edges = np.histogram(densities, bins=_NUM_BINS, range=(0, top))
    return [
        (float(low), float(high), int(count))
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
