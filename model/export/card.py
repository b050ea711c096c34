"""The generator card: metadata of an exported generator, stored in each of its files."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from config.recipe import StoredRecipe

# Key of the card in the metadata of both files.
CARD_KEY = "icanvas"

CONDITION_FORMAT = "float32 (N, 1, H, W) in [0, 1], 0 on lines, 1 on paper; H and W divide by 4"
PICTURE_FORMAT = "float32 (N, 3, H, W) RGB in [-1, 1]"


class GeneratorCard(BaseModel):
    """Origin and usage of a generator.

    Attributes
    ----------
    format : int
        Version of the file format.
    dataset, run, epoch, step : str, str, int, int
        The checkpoint.
    checkpoint : str
        SHA-256 of the checkpoint's bytes, in hex.
    pairs : str
        Fingerprint of the pair set that it was trained on.
    average : bool
        Whether the weights are the moving average.
    image_size : int, pixels
        Side of the pictures that it was trained on; other sizes work.
    extent : float in (0, 1]
        Typical share of a side that its training drawings take; pass it to
        ``postprocess.normalize_sketch``.
    condition, picture : str
        Description of input and output.
    generator_width, generator_blocks : int
        Size of the network.
    trained_with, exported_with : dict of str to str
        Versions of packages.
    revision : str or None
        Git commit that trained it; None if unknown.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    dataset: str
    run: str
    epoch: int
    step: int
    checkpoint: str
    pairs: str
    average: bool
    image_size: int
    extent: float = Field(gt=0, le=1)
    condition: str = CONDITION_FORMAT
    picture: str = PICTURE_FORMAT
    # Bounded, because an untrusted file decides the size of the network.
    generator_width: int = Field(ge=4, le=4096)
    generator_blocks: int = Field(ge=1, le=1000)
    trained_with: dict[str, str]
    exported_with: dict[str, str]
    revision: str | None


class RunMetadata(BaseModel):
    """The part of a run's ``recipe.json`` that an export requires.

    Attributes
    ----------
    pairs, recipe, revision
        As written by the training; see ``GeneratorCard`` and ``Recipe``.
    extent : float in (0, 1]
        Older runs do not store it; the default is that of ``normalize_sketch``.
    versions : dict of str to str
        Versions of packages.
    """

    pairs: str
    recipe: StoredRecipe
    extent: float = 0.85
    versions: dict[str, str]
    revision: str | None = None
