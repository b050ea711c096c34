"""The metrics that checkpoints are compared by, with their descriptions for people."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """Definition of one metric.

    Attributes
    ----------
    key : str
        Name in files.
    title : str
        Name for people.
    description : str
        One line: what the metric measures, and what it does not.
    better : {"lower", "higher", "true"}
        Which values are better; ``true`` for those closest to the true pictures' value.
    decimals : int
        Number of decimals to display.
    """

    key: str
    title: str
    description: str
    better: Literal["lower", "higher", "true"]
    decimals: int = 3

    @property
    def direction(self) -> str:
        """Which values are better, in words."""
        return {"true": "closest to the true pictures'"}.get(self.better, self.better)


METRICS = (
    Metric(
        "l1",
        "L1",
        "Mean absolute difference to the true picture, 0 to 1. Rewards blur that averages out.",
        "lower",
    ),
    Metric(
        "ssim",
        "SSIM",
        "Similarity of small patches to the true picture's, at most 1. Ignores what is depicted.",
        "higher",
    ),
    Metric(
        "ms_ssim",
        "MS-SSIM",
        "SSIM at five scales, which tolerates changes of fine texture. Says little about color.",
        "higher",
    ),
    Metric(
        "edge_f1",
        "edge F1",
        "Agreement of the picture's edges (HED) with the drawing's lines, within 2 px. Perfect "
        "also for lines that are only copied onto white.",
        "higher",
    ),
    Metric(
        "edge_precision",
        "edge precision",
        "Share of the picture's edges that are in the drawing: low if edges were invented.",
        "higher",
    ),
    Metric(
        "edge_recall",
        "edge recall",
        "Share of the drawing's lines that are edges in the picture: low if lines were ignored.",
        "higher",
    ),
    Metric(
        "diversity",
        "diversity",
        "Mean difference between pictures, relative to training pictures. Near 0 if all pictures "
        "are the same. Noise is diverse too.",
        "true",
        2,
    ),
    Metric(
        "colourfulness",
        "colorfulness",
        "Mean strength of colors (Hasler and Süsstrunk): 0 is gray. Not whether they are right.",
        "true",
        1,
    ),
    Metric(
        "near_white",
        "near white",
        "Share of pixels that are white or nearly white: high if areas were left blank.",
        "true",
        2,
    ),
    Metric(
        "colour_distance",
        "color distance",
        "Share of pixels that need another color to match the training pictures' colors "
        "(histograms in Lab). Ignores where the colors are.",
        "lower",
        2,
    ),
    Metric(
        "kid_efflite0",
        "KID-EffLite0",
        "Distance to the training pictures in features of EfficientNet-Lite0; about 0 for real "
        "pictures. Not comparable with a KID of other features.",
        "lower",
        3,
    ),
)
