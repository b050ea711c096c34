"""The plan of a pair set: all settings that determine its bytes and its fingerprint."""

from dataclasses import dataclass
from functools import lru_cache

from postprocess import PAIR_SIZE, DrawingSide
from sources import DatasetConfig
from sources.selection import compile_patterns
from storage import keys
from storage.fingerprint import fingerprint
from storage.manifest import ManifestRow, assign_split

PAIR_FORMAT = 2


@dataclass(frozen=True)
class PairSetPlan:
    """All settings that determine the bytes of a pair set.

    Attributes
    ----------
    dataset : DatasetConfig
        Geometry, edge settings and split of the data set.
    raw_fingerprint : str
        Fingerprint of the raw set.
    threshold : float or None
        Resolved edge threshold, in (0, 1); None if no edges are extracted.
    weights : str or None
        Format and digest of the HED weights; None if no edges are extracted.
    revision : int
        Number of forced runs with the same settings, at least 0.
    drawing_side : {'left', 'right'}
        Side of the drawings in published pairs; see ``tasks.drawing_side``.
    """

    dataset: DatasetConfig
    raw_fingerprint: str
    threshold: float | None
    weights: str | None
    revision: int = 0
    drawing_side: DrawingSide = "left"

    @property
    def settings(self) -> dict[str, object]:
        """Settings as JSON values. Their fingerprint names the pair set."""
        dataset = self.dataset
        settings: dict[str, object] = {
            "format": PAIR_FORMAT,
            "raw": self.raw_fingerprint,
            "geometry": {**dataset.geometry.model_dump(), "size": PAIR_SIZE},
            "paired": dataset.paired,
        }
        if dataset.validation:
            settings["validation"] = list(dataset.validation)
        else:
            settings["val_share"] = dataset.val_share
        if dataset.paired:
            settings["drawing"] = self.drawing_side
        if dataset.needs_edges:
            edges = {**dataset.edges.model_dump(), "threshold": self.threshold}
            settings |= {"edges": edges, "weights": self.weights}
            if dataset.re_extract:
                settings["re_extract"] = True
        else:
            # ``storage.pair_reader.open_pairs`` reads this.
            settings["stored"] = "raw"
            settings["edges"] = {"min_density": dataset.edges.min_density}
        if self.revision:
            settings["revision"] = self.revision
        return settings

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the pair set, 12 hex digits."""
        return fingerprint(self.settings)

    @property
    def raw_folder(self) -> str:
        """Key of the raw set's folder."""
        return keys.raw_folder(self.dataset.name, self.raw_fingerprint)

    @property
    def folder(self) -> str:
        """Key of the pair set's folder."""
        return keys.pairs_folder(self.dataset.name, self.fingerprint)

    @property
    def bar_name(self) -> str:
        """Name of the progress bar of the extraction."""
        return f"{self.dataset.name}: extract"

    def get_split(self, row: ManifestRow) -> str:
        """Return the split of a decoded file.

        Parameters
        ----------
        row : ManifestRow
            Row of the file, with its ``pixel_hash``.

        Returns
        -------
        str
            ``train`` or ``val``.
        """
        if self.dataset.validation:
            is_val = _cached_matcher(self.dataset.validation).match_file(row.source_path)
            return "val" if is_val else "train"
        assert row.pixel_hash is not None, "a decoded file has a pixel hash"
        return assign_split(row.pixel_hash, self.dataset.val_share)


# Cached, because `get_split` needs the matcher for every file of a data set.
_cached_matcher = lru_cache(maxsize=8)(compile_patterns)
