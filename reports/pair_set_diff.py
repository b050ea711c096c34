"""A pair set beside the one that was in use before: what a re-extraction changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.errors import DamagedError, NotFoundError
from postprocess import decode_pair, encode_jpeg, make_sheet, split_pair
from reports.pair_set_report import flatten, inline_jpeg, render
from storage import ObjectStore
from storage.manifest import Row
from storage.pair_sets import StoredPairs, locate_pairs, read_manifest, read_settings

_SHOWN = 8
_COLUMNS = 2


@dataclass(frozen=True)
class Side:
    """One of the two sets in figures; densities are shares of line pixels, None without a pair."""

    fingerprint: str
    pairs: int
    median: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """Two pair sets of a data set.

    Attributes
    ----------
    old, new : figures of each; densities are the median and the 10th and 90th percentile.
    settings : (name, old value, new value) of what they were made with, where it differs.
    gained, lost : files that are a pair in the new set only, and in the old only.
    sheet : JPEG of the same pictures, each as old drawing | new drawing | picture; None where the
        sets share none.
    """

    old: Side
    new: Side
    settings: list[tuple[str, object, object]]
    gained: int
    lost: int
    sheet: bytes | None

    @property
    def key(self) -> str:
        """File name of the page beside the new set's report."""
        return f"against-{self.old.fingerprint}.html"


def compare_sets(store: ObjectStore, dataset: str, old: str, new: str) -> Comparison | None:
    """Compare two published pair sets; None where the old one is gone or damaged.

    Files are the same where their bytes are.
    """
    try:
        sets = [locate_pairs(store, dataset, name) for name in (old, new)]
        before, after = (_pairs_of(store, dataset, name) for name in (old, new))
        common = [digest for digest in after if digest in before]
        shown = [
            common[index]
            for index in np.linspace(0, len(common) - 1, min(_SHOWN, len(common)))
            .round()
            .astype(int)
        ]
        images = [_triple(sets, before[digest], after[digest]) for digest in shown]
        facts = [read_settings(store, dataset, name) for name in (old, new)]
    except (NotFoundError, DamagedError):
        return None
    return Comparison(
        _describe(old, before),
        _describe(new, after),
        _differences(*facts),
        len(after.keys() - before.keys()),
        len(before.keys() - after.keys()),
        encode_jpeg(make_sheet(images, _COLUMNS), quality=85) if images else None,
    )


def render_comparison(title: str, comparison: Comparison) -> str:
    """Return a comparison as one self-contained HTML page."""
    sheet = None if comparison.sheet is None else inline_jpeg(comparison.sheet)
    return render("pair_set_diff.html.j2", title=title, comparison=comparison, sheet=sheet)


def _pairs_of(store: ObjectStore, dataset: str, fingerprint: str) -> dict[str | None, Row]:
    rows = read_manifest(store, dataset, fingerprint)
    return {row.sha256: row for row in rows if row.status == "pair"}


def _triple(sets: list[StoredPairs], before: Row, after: Row) -> NDArray[np.uint8]:
    old, new = sets
    drawing, _ = split_pair(decode_pair(old.read(before)), old.drawing)
    redrawn, picture = split_pair(decode_pair(new.read(after)), new.drawing)
    drawings = np.hstack([drawing, redrawn])
    return np.hstack([np.repeat(drawings[..., None], 3, axis=2), picture])


def _describe(fingerprint: str, pairs: Mapping[str | None, Row]) -> Side:
    densities = [row.edge_density for row in pairs.values() if row.edge_density is not None]
    if not densities:
        return Side(fingerprint, len(pairs), None, None, None)
    low, median, high = np.percentile(densities, (10, 50, 90)).tolist()
    return Side(fingerprint, len(pairs), median, low, high)


def _differences(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> list[tuple[str, object, object]]:
    before, after = dict(flatten(old)), dict(flatten(new))
    names = dict.fromkeys([*before, *after])
    return [
        (name, before.get(name, "–"), after.get(name, "–"))
        for name in names
        if before.get(name) != after.get(name)
    ]
