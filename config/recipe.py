"""The recipe: every option of a training run."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from config.errors import InputError

Precision = Literal["auto", "f32", "bf16"]
Switch = Literal["auto", "on", "off"]

# Fields that decide what is stored, when, and how fast a run is, but not what it learns.
_NON_FINGERPRINT_FIELDS = {
    "checkpoint_every",
    "checkpoint_minutes",
    "keep_last",
    "keep_best",
    "shutdown_grace_s",
    "compile",
}

# New name of a field: its name in recipes that earlier versions stored. The fingerprint is computed
# over the old names, so that a run keeps its name.
_STORED_NAMES = {
    "lr_decay_fraction": "decay",
    "max_grad_norm": "clip",
    "image_pool_size": "pool",
    "hflip": "mirror",
    "shutdown_grace_s": "grace",
}


class Recipe(BaseModel):
    """The options of a training run.

    Prefect's forms show the fields' descriptions to operators.

    Examples
    --------
    >>> Recipe(batch=8).lr
    0.0002
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(default=4, ge=1, le=1024, description="Pairs per step.")
    epochs: int = Field(default=20, ge=1, description="Passes over the training pairs.")
    lr: float = Field(default=2e-4, gt=0, le=1, description="Learning rate of both optimizers.")
    beta1: float = Field(default=0.5, ge=0, lt=1, description="Adam's beta1, of both optimizers.")
    lr_decay_fraction: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Fraction of the steps, the last ones, over which the learning rate decays "
        "linearly to 0.",
    )
    lambda_l1: float = Field(
        default=10.0, ge=0, description="Weight of the L1 loss; the adversarial loss has 1."
    )
    max_grad_norm: float = Field(
        default=100.0,
        ge=0,
        description="Gradients of each network are clipped to this norm; 0 disables clipping.",
    )
    image_pool_size: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Size of the pool of generated pictures that the discriminator is shown again "
        "(Shrivastava et al., 2017); 0 disables the pool, as in pix2pix.",
    )
    ema: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="Decay of the generator's exponential moving average, which is used for "
        "samples, validation and export. 0 uses the generator itself.",
    )
    image_size: int = Field(
        default=256,
        ge=64,
        le=256,
        multiple_of=4,
        description="Side in pixels that pairs are scaled to; a multiple of 4.",
    )
    jitter: int = Field(
        default=30,
        ge=0,
        le=128,
        description="Pixels that a pair of side 256 is enlarged by before a random crop of the "
        "original side; proportional at other sides.",
    )
    hflip: bool = Field(default=True, description="Flip half of the pairs horizontally.")
    augment: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Strength of the stroke augmentation of drawings, 0 (off) to 1: strokes are "
        "dropped, opened, smoothed, shifted and deformed. Pictures are not changed.",
    )
    augment_share: float = Field(
        default=0.8, ge=0, le=1, description="Fraction of the drawings that are augmented."
    )
    min_density: float = Field(
        default=0.002,
        ge=0,
        lt=1,
        description="Pairs whose drawing has a smaller share of line pixels are skipped.",
    )
    generator_width: int = Field(
        default=64, ge=4, description="Channels of the generator's first layer."
    )
    generator_blocks: int = Field(default=9, ge=1, description="Residual blocks of the generator.")
    discriminator_width: int = Field(
        default=64, ge=4, description="Channels of the discriminator's first layer."
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="Seed of initialization, shuffling and jitter."
    )
    precision: Precision = Field(
        default="auto",
        description="Precision of the convolutions; norms, losses and weights are f32. auto uses "
        "bf16 where the device supports it natively.",
    )
    compile: Switch = Field(
        default="auto",
        description="Whether torch.compile compiles the networks; auto compiles for long runs.",
    )
    checkpoint_every: int = Field(
        default=1,
        ge=1,
        description="Epochs between two checkpoints; the last epoch always has one.",
    )
    checkpoint_minutes: float = Field(
        default=30.0,
        ge=0,
        description="Minutes between two interim checkpoints within an epoch; 0 writes none.",
    )
    keep_last: int = Field(
        default=3, ge=1, description="Number of latest checkpoints that stay in the store."
    )
    keep_best: int = Field(
        default=1,
        ge=0,
        description="Number of checkpoints with the lowest val_l1 that stay in the store. Promoted "
        "checkpoints always stay.",
    )
    shutdown_grace_s: float = Field(
        default=20.0,
        ge=0,
        le=3600,
        description="Seconds that a stopped run waits for its last checkpoint to be uploaded. "
        "Files that are not uploaded by then stay on this machine.",
    )

    def retention_fields(self) -> dict[str, int]:
        """Return the fields that decide which checkpoints stay in the store."""
        return {"keep_last": self.keep_last, "keep_best": self.keep_best}

    def fingerprint_fields(self) -> dict[str, object]:
        """Return the fields that decide what is learned, with their stored names.

        A run's name is a hash of them.

        Returns
        -------
        dict
            JSON values by stored name.
        """
        fields = self.model_dump(exclude=_NON_FINGERPRINT_FIELDS)
        return {_STORED_NAMES.get(name, name): value for name, value in fields.items()}


def _rename_stored_fields(stored: object) -> object:
    """Replace the names that earlier versions gave to fields."""
    if not isinstance(stored, dict):
        return stored
    new_names = {old: new for new, old in _STORED_NAMES.items()}
    return {new_names.get(name, name): value for name, value in stored.items()}


# The type of a recipe that is read from ``recipe.json``. Input of users is a ``Recipe``, which
# rejects the old names.
StoredRecipe = Annotated[Recipe, BeforeValidator(_rename_stored_fields)]


def make_recipe(defaults: Mapping[str, object], overrides: Mapping[str, object]) -> Recipe:
    """Merge a user's overrides into a data set's recipe.

    Parameters
    ----------
    defaults : mapping of str to object
        Fields of the data set's recipe; missing fields have the defaults of ``Recipe``.
    overrides : mapping of str to object
        Fields that replace them.

    Returns
    -------
    Recipe

    Raises
    ------
    InputError
        If a field is unknown or its value is invalid. The message names the field.

    Examples
    --------
    >>> make_recipe({"batch": 1, "epochs": 180}, {"epochs": 2}).epochs
    2
    """
    try:
        return Recipe.model_validate({**defaults, **overrides})
    except ValidationError as error:
        detail = error.errors()[0]
        field = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            raise InputError(
                f"Recipe: no field {field!r}. Fields: {', '.join(Recipe.model_fields)}."
            ) from None
        raise InputError(f"Recipe: {field}={detail['input']!r}: {detail['msg']}.") from None
