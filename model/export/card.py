"""What is to be known of an exported generator; each of its files holds it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from config.recipe import StoredRecipe

# Its key among the metadata of either file.
CARD_KEY = "icanvas"

CONDITION_FORMAT = "float32 (N, 1, H, W) in [0, 1], 0 on lines, 1 on paper; H and W divide by 4"
PICTURE_FORMAT = "float32 (N, 3, H, W) RGB in [-1, 1]"


class GeneratorCard(BaseModel):
    """Where a generator comes from, and how it is used.

    Attributes
    ----------
    format : of the files.
    dataset, run, epoch, step : which checkpoint it was.
    checkpoint : SHA-256 (hex) of that checkpoint's bytes.
    pairs : fingerprint of the pair set that it learned from.
    average : whether it is the moving average of the weights.
    image_size : side in pixels that it was trained at; others work.
    extent : how much of a side the drawings typically took that it learned from, in (0, 1]; goes
        into ``postprocess.normalise_sketch``.
    condition, picture : what it takes and gives.
    generator_width, generator_blocks : size of the network.
    trained_with, exported_with : versions of packages.
    revision : commit of the checkout that trained it; None where that was none.
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
    # Bounds, for a file from elsewhere decides what is built.
    generator_width: int = Field(ge=4, le=4096)
    generator_blocks: int = Field(ge=1, le=1000)
    trained_with: dict[str, str]
    exported_with: dict[str, str]
    revision: str | None


class RunMetadata(BaseModel):
    """What an export needs of a run's ``recipe.json``.

    Attributes
    ----------
    pairs, recipe, revision : as ``describe_run`` writes them.
    extent : runs of former versions do not tell; then it is ``normalise_sketch``'s own.
    versions : of packages.
    """

    pairs: str
    recipe: StoredRecipe
    extent: float = 0.85
    versions: dict[str, str]
    revision: str | None = None
