"""What a run is made by."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from config.errors import InputError

Precision = Literal["auto", "f32", "bf16"]
Switch = Literal["auto", "on", "off"]

# What changes when and where a run is kept, and how quickly it runs, but not what it learns.
_NON_FINGERPRINT_FIELDS = {
    "checkpoint_every",
    "checkpoint_minutes",
    "keep_last",
    "keep_best",
    "shutdown_grace_s",
    "compile",
}

# Fields whose names in recipes that earlier versions stored differ. The fingerprint is computed
# over the stored names, so that a run keeps its name.
_STORED_NAMES = {
    "lr_decay_fraction": "decay",
    "max_grad_norm": "clip",
    "image_pool_size": "pool",
    "hflip": "mirror",
    "shutdown_grace_s": "grace",
}


class Recipe(BaseModel):
    """Every choice that shapes a trained model.

    The fields' descriptions are read in Prefect's forms, by operators.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(default=4, ge=1, le=1024, description="Pairs a step.")
    epochs: int = Field(default=20, ge=1, description="Times through the training pairs.")
    lr: float = Field(
        default=2e-4, gt=0, le=1, description="Learning rate of both Adam optimisers."
    )
    beta1: float = Field(default=0.5, ge=0, lt=1, description="Of both Adam optimisers.")
    lr_decay_fraction: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of the steps, the last ones, over which the learning rate falls to 0 in "
        "a line.",
    )
    lambda_l1: float = Field(
        default=10.0, ge=0, description="Weight of the L1 term against the adversarial one."
    )
    max_grad_norm: float = Field(
        default=100.0,
        ge=0,
        description="Gradients are scaled down to this norm, for each network; 0 leaves them.",
    )
    image_pool_size: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Generated pictures that are kept to be shown to the discriminator again "
        "(Shrivastava et al., 2017); 0 shows it only new ones, as pix2pix does.",
    )
    ema: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="How much of the averaged generator stays at each step; it draws the samples, "
        "is validated and used. 0 uses the generator as it is.",
    )
    image_size: int = Field(
        default=256,
        ge=64,
        le=256,
        multiple_of=4,
        description="Side in pixels that pairs are scaled to; divides by 4.",
    )
    jitter: int = Field(
        default=30,
        ge=0,
        le=128,
        description="Pixels that a pair is enlarged by, at a side of 256, before a square of the "
        "side is cut from it at random; in proportion at other sides.",
    )
    hflip: bool = Field(default=True, description="Show every pair mirrored half of the time.")
    augment: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="How much drawings differ from those that edges made, 0 (not at all) to 1: "
        "strokes are left out, opened, smoothed, shifted and bent, as a hand would; pictures stay "
        "as they are.",
    )
    augment_share: float = Field(
        default=0.8, ge=0, le=1, description="Share of the drawings that this is done to."
    )
    min_density: float = Field(
        default=0.002,
        ge=0,
        lt=1,
        description="Pairs whose drawing has a smaller share of line pixels are left out.",
    )
    generator_width: int = Field(
        default=64, ge=4, description="Channels of the generator's first layer."
    )
    generator_blocks: int = Field(default=9, ge=1, description="Residual blocks of the generator.")
    discriminator_width: int = Field(
        default=64, ge=4, description="Channels of the discriminator's first layer."
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="Of initialisation, shuffling and jitter."
    )
    precision: Precision = Field(
        default="auto",
        description="Of the convolutions; norms, losses and weights are f32. auto takes bf16 where "
        "the device computes it natively.",
    )
    compile: Switch = Field(
        default="auto",
        description="Whether PyTorch compiles the networks first; auto for long runs.",
    )
    checkpoint_every: int = Field(
        default=1,
        ge=1,
        description="Epochs from one checkpoint to the next; the last epoch has one anyway.",
    )
    checkpoint_minutes: float = Field(
        default=30.0,
        ge=0,
        description="Minutes within an epoch from one interim checkpoint, to go on from, to the "
        "next; 0 keeps none.",
    )
    keep_last: int = Field(
        default=3, ge=1, description="How many checkpoints stay in the store, the last ones."
    )
    keep_best: int = Field(
        default=1,
        ge=0,
        description="And how many of the lowest val_l1. What is promoted stays anyway.",
    )
    shutdown_grace_s: float = Field(
        default=20.0,
        ge=0,
        le=3600,
        description="Seconds that a run which is stopped waits for its last checkpoint to be in "
        "the store; what is not there by then stays on this machine.",
    )

    def retention_fields(self) -> dict[str, int]:
        """Return the fields that decide which checkpoints stay."""
        return {"keep_last": self.keep_last, "keep_best": self.keep_best}

    def fingerprint_fields(self) -> dict[str, object]:
        """Return the fields that decide what is learned, by their stored names: they name a run."""
        fields = self.model_dump(exclude=_NON_FINGERPRINT_FIELDS)
        return {_STORED_NAMES.get(name, name): value for name, value in fields.items()}


def _rename_stored_fields(stored: object) -> object:
    if not isinstance(stored, dict):
        return stored
    new_names = {old: new for new, old in _STORED_NAMES.items()}
    return {new_names.get(name, name): value for name, value in stored.items()}


# A recipe as ``recipe.json`` holds it: earlier versions wrote other names of some fields.
StoredRecipe = Annotated[Recipe, BeforeValidator(_rename_stored_fields)]


def make_recipe(defaults: Mapping[str, object], overrides: Mapping[str, object]) -> Recipe:
    """Return a data set's recipe with a user's changes over it.

    Raises
    ------
    InputError
        If a field is unknown or a value does not fit; the message names the field.
    """
    try:
        return Recipe.model_validate({**defaults, **overrides})
    except ValidationError as error:
        detail = error.errors()[0]
        field = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            raise InputError(
                f"Recipe: there is no field {field!r}. Fields: {', '.join(Recipe.model_fields)}."
            ) from None
        raise InputError(f"Recipe: {field}={detail['input']!r}: {detail['msg']}.") from None
