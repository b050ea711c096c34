"""Comparison of a pair set with the previous one: the changes by a re-extraction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.errors import CorruptObjectError, NotFoundError
from postprocess import decode_pair, encode_jpeg, make_contact_sheet, split_pair
from reports.pair_set_report import flatten_settings, inline_jpeg, render_template
from storage import ObjectStore
from storage.manifest import ManifestRow
from storage.pair_reader import PairReader, open_pairs
from storage.pair_sets import read_manifest, read_settings

_MAX_EXAMPLES = 8
_SHEET_COLUMNS = 2


@dataclass(frozen=True)
class PairSetStats:
    """Statistics of one pair set.

    Attributes
    ----------
    fingerprint : str
    pairs : int
        Number of pairs.
    median, low, high : float in [0, 1], or None
        Median, 10th and 90th percentile of the edge density (share of line pixels); None without
        pairs.
    """

    fingerprint: str
    pairs: int
    median: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PairSetDiff:
    """Differences of two pair sets of a data set.

    Attributes
    ----------
    old, new : PairSetStats
    settings : list of (str, object, object)
        Name, old value and new value of each setting that differs.
    gained, lost : int
        Number of files that are a pair in the new set only, and in the old set only.
    sheet : bytes or None
        JPEG of the same pictures, each as old drawing | new drawing | picture; None if the sets
        have no picture in common.
    """

    old: PairSetStats
    new: PairSetStats
    settings: list[tuple[str, object, object]]
    gained: int
    lost: int
    sheet: bytes | None

    @property
    def file_name(self) -> str:
        """Name of the HTML file beside the new set's report."""
        return f"against-{self.old.fingerprint}.html"


def diff_pair_sets(store: ObjectStore, dataset: str, old: str, new: str) -> PairSetDiff | None:
    """Compare two published pair sets. Files are identified by the hash of their bytes.

    Parameters
    ----------
    store : ObjectStore
    dataset : str
    old, new : str
        Fingerprints of the pair sets.

    Returns
    -------
    PairSetDiff or None
        None if the old set is missing or damaged.
    """
    try:
        sets = [open_pairs(store, dataset, name) for name in (old, new)]
        old_rows, new_rows = (_read_pair_rows(store, dataset, name) for name in (old, new))
        common = [digest for digest in new_rows if digest in old_rows]
        digests = [
            common[index]
            for index in np.linspace(0, len(common) - 1, min(_MAX_EXAMPLES, len(common)))
            .round()
            .astype(int)
        ]
        images = [_join_examples(sets, old_rows[digest], new_rows[digest]) for digest in digests]
        settings = [read_settings(store, dataset, name) for name in (old, new)]
    except (NotFoundError, CorruptObjectError):
        return None
    return PairSetDiff(
        _compute_stats(old, old_rows),
        _compute_stats(new, new_rows),
        _diff_settings(*settings),
        len(new_rows.keys() - old_rows.keys()),
        len(old_rows.keys() - new_rows.keys()),
        encode_jpeg(make_contact_sheet(images, _SHEET_COLUMNS), quality=85) if images else None,
    )


def render_pair_set_diff(title: str, diff: PairSetDiff) -> str:
    """Render a diff as one self-contained HTML page.

    Parameters
    ----------
    title : str
        The data set's title.
    diff : PairSetDiff

    Returns
    -------
    str
        HTML.
    """
    sheet = None if diff.sheet is None else inline_jpeg(diff.sheet)
    return render_template("pair_set_diff.html.j2", title=title, diff=diff, sheet=sheet)


def _read_pair_rows(
    store: ObjectStore, dataset: str, fingerprint: str
) -> dict[str | None, ManifestRow]:
    rows = read_manifest(store, dataset, fingerprint)
    return {row.sha256: row for row in rows if row.status == "pair"}


def _join_examples(
    sets: list[PairReader], old_row: ManifestRow, new_row: ManifestRow
) -> NDArray[np.uint8]:
    old, new = sets
    drawing, _ = split_pair(decode_pair(old.read(old_row)), old.drawing_side)
    redrawn, picture = split_pair(decode_pair(new.read(new_row)), new.drawing_side)
    drawings = np.hstack([drawing, redrawn])
    return np.hstack([np.repeat(drawings[..., None], 3, axis=2), picture])


def _compute_stats(fingerprint: str, pairs: Mapping[str | None, ManifestRow]) -> PairSetStats:
    densities = [row.edge_density for row in pairs.values() if row.edge_density is not None]
    if not densities:
        return PairSetStats(fingerprint, len(pairs), None, None, None)
    low, median, high = np.percentile(densities, (10, 50, 90)).tolist()
    return PairSetStats(fingerprint, len(pairs), median, low, high)


def _diff_settings(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[tuple[str, object, object]]:
    old_settings, new_settings = dict(flatten_settings(old)), dict(flatten_settings(new))
    names = dict.fromkeys([*old_settings, *new_settings])
    return [
        (name, old_settings.get(name, "–"), new_settings.get(name, "–"))
        for name in names
        if old_settings.get(name) != new_settings.get(name)
    ]
