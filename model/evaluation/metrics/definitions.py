"""The figures that checkpoints are compared by, and what each means, for people."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One figure.

    Attributes
    ----------
    key : its name in files.
    title : its name for people.
    meaning : one line: what it tells, and what it does not.
    better : what is better; ``true`` for nearest to that of the true pictures.
    digits : behind the point, to be shown.
    """

    key: str
    title: str
    description: str
    better: Literal["lower", "higher", "true"]
    decimals: int = 3

    @property
    def direction(self) -> str:
        """What is better, in words."""
        return {"true": "nearest to the true pictures'"}.get(self.better, self.better)


METRICS = (
    Metric(
        "l1",
        "L1",
        "Mean difference to the true picture, of 1. A blur that is right on average does well.",
        "lower",
    ),
    Metric(
        "ssim",
        "SSIM",
        "Likeness of small patches to the true picture's, at most 1. Blind to what a thing is.",
        "higher",
    ),
    Metric(
        "ms_ssim",
        "MS-SSIM",
        "The same at five scales, so that it forgives fine texture. Says little about colour.",
        "higher",
    ),
    Metric(
        "edge_f1",
        "edge F1",
        "Whether the picture's edges (HED) are the drawing's lines, within 2 px. Perfect, too, "
        "where lines are only copied onto white.",
        "higher",
    ),
    Metric(
        "edge_precision",
        "edge precision",
        "Share of the picture's edges that were drawn: low where edges were invented.",
        "higher",
    ),
    Metric(
        "edge_recall",
        "edge recall",
        "Share of the drawn lines that are edges of the picture: low where lines were ignored.",
        "higher",
    ),
    Metric(
        "diversity",
        "diversity",
        "How far pictures are from each other, where training pictures are 1 apart. Near 0: always "
        "the same picture. Noise is diverse, too.",
        "true",
        2,
    ),
    Metric(
        "colourfulness",
        "colourfulness",
        "Mean strength of the colours (Hasler and Süsstrunk): 0 is grey. Not whether they fit.",
        "true",
        1,
    ),
    Metric(
        "near_white",
        "near white",
        "Share of pixels that are white or nearly so: high where things are left unpainted.",
        "true",
        2,
    ),
    Metric(
        "colour_distance",
        "colour distance",
        "Share of all pixels that would need another colour to have the training pictures' colours "
        "(histograms in Lab). Not where the colours are.",
        "lower",
        2,
    ),
    Metric(
        "kid_efflite0",
        "KID-EffLite0",
        "Distance to the training pictures in what EfficientNet-Lite0 sees; about 0 for real ones. "
        "Not to be compared with a KID of other features.",
        "lower",
        3,
    ),
)
