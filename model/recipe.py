"""What a run is made by."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from errors import InputError


class Recipe(BaseModel):
    """Every choice that shapes a trained model.

    Attributes
    ----------
    batch : pairs a step.
    epochs : times through the training pairs.
    learning_rate, beta1 : of both Adam optimisers.
    lambda_l1 : weight of the L1 term against the adversarial one.
    image_size : side in pixels that pairs are scaled to; divides by 4.
    generator_width, generator_blocks, discriminator_width : sizes of the networks.
    seed : of initialisation and shuffling.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(default=4, ge=1, le=1024)
    epochs: int = Field(default=20, ge=1)
    learning_rate: float = Field(default=2e-4, gt=0, le=1)
    beta1: float = Field(default=0.5, ge=0, lt=1)
    lambda_l1: float = Field(default=10.0, ge=0)
    image_size: int = Field(default=256, ge=64, le=256, multiple_of=4)
    generator_width: int = Field(default=64, ge=4)
    generator_blocks: int = Field(default=9, ge=1)
    discriminator_width: int = Field(default=64, ge=4)
    seed: int = Field(default=0, ge=0, lt=2**63)


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
        fault = error.errors()[0]
        field = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            raise InputError(
                f"Recipe: there is no field {field!r}. Fields: {', '.join(Recipe.model_fields)}."
            ) from None
        raise InputError(f"Recipe: {field}={fault['input']!r}: {fault['msg']}.") from None
