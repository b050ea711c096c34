"""What a pair set is made from: everything that determines its bytes, and so its name."""

from dataclasses import dataclass
from functools import lru_cache

from postprocess import PAIR_SIZE, Side
from sources import DataSet
from sources.selection import matcher
from storage import keys
from storage.fingerprint import fingerprint
from storage.manifest import Row, split_of

PAIR_FORMAT = 2


@dataclass(frozen=True)
class PairPlan:
    """Everything that determines the bytes of a pair set.

    Attributes
    ----------
    dataset : geometry, edge settings and the rest.
    raw : fingerprint of the raw set.
    threshold : the edge threshold in force; None where no edges are extracted.
    weights : form and digest of HED's weights; None where no edges are extracted.
    revision : 0, and one more for each forced run with the same settings.
    drawing : the side of files that are pairs that holds the drawing; ``tasks.drawing_side`` finds
        it.
    """

    dataset: DataSet
    raw: str
    threshold: float | None
    weights: str | None
    revision: int = 0
    drawing: Side = "left"

    @property
    def settings(self) -> dict[str, object]:
        """The facts as JSON values; their fingerprint names the pair set."""
        dataset = self.dataset
        facts: dict[str, object] = {
            "format": PAIR_FORMAT,
            "raw": self.raw,
            "geometry": {**dataset.geometry.model_dump(), "size": PAIR_SIZE},
            "paired": dataset.paired,
        }
        if dataset.validation:
            facts["validation"] = list(dataset.validation)
        else:
            facts["val_share"] = dataset.val_share
        if dataset.paired:
            facts["drawing"] = self.drawing
        if dataset.needs_edges:
            edges = {**dataset.edges.model_dump(), "threshold": self.threshold}
            facts |= {"edges": edges, "weights": self.weights}
            if dataset.re_extract:
                facts["re_extract"] = True
        else:
            # ``storage.pair_sets.locate_pairs`` reads this.
            facts["stored"] = "raw"
            facts["edges"] = {"min_density": dataset.edges.min_density}
        if self.revision:
            facts["revision"] = self.revision
        return facts

    @property
    def fingerprint(self) -> str:
        """Name of the pair set."""
        return fingerprint(self.settings)

    @property
    def raw_folder(self) -> str:
        """Key of the raw set's folder."""
        return keys.raw_folder(self.dataset.name, self.raw)

    @property
    def folder(self) -> str:
        """Key of the pair set's folder."""
        return keys.pairs_folder(self.dataset.name, self.fingerprint)

    @property
    def bar(self) -> str:
        """Name of the progress bar."""
        return f"{self.dataset.name}: extract"

    def split(self, row: Row) -> str:
        """Return ``val`` for a decoded file that is kept for validation, else ``train``."""
        if self.dataset.validation:
            kept = _matcher(self.dataset.validation).match_file(row.source_path)
            return "val" if kept else "train"
        assert row.pixel_hash is not None, "a decoded file has one"
        return split_of(row.pixel_hash, self.dataset.val_share)


# Asked for every file of a set.
_matcher = lru_cache(maxsize=8)(matcher)
