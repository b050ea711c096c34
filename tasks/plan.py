"""What a pair set is made from: everything that determines its bytes, and so its name."""

from dataclasses import dataclass

from datasets import DataSet
from postprocess import PAIR_SIZE
from storage import keys
from storage.fingerprint import fingerprint

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
    """

    dataset: DataSet
    raw: str
    threshold: float | None
    weights: str | None
    revision: int = 0

    @property
    def settings(self) -> dict[str, object]:
        """The facts as JSON values; their fingerprint names the pair set."""
        facts: dict[str, object] = {
            "format": PAIR_FORMAT,
            "raw": self.raw,
            "geometry": {**self.dataset.geometry.model_dump(), "size": PAIR_SIZE},
            "paired": self.dataset.paired,
            "val_share": self.dataset.val_share,
        }
        edges = {**self.dataset.edges.model_dump(), "threshold": self.threshold}
        if self.dataset.paired:
            facts["edges"] = {"min_density": edges["min_density"]}
        else:
            facts |= {"edges": edges, "weights": self.weights}
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
