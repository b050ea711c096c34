"""What a user wants other than the catalogue, or the defaults, say."""

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from config.errors import InputError

# Docstrings and descriptions here are read in Prefect's forms, by operators.


def _optional_field_schema(schema: dict[str, Any]) -> None:
    """Let a form show one plain field that may stay empty, not a choice of types."""
    given = next(kind for kind in schema.pop("anyOf") if kind.get("type") != "null")
    schema.pop("default", None)
    schema.update(given)


class EdgeOptions(BaseModel):
    """How edges become lines; what is empty stays as the catalogue says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="wrap")
    def _omit_none(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value is not None}

    threshold: float | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        gt=0,
        lt=1,
        description="Edge probability from which on a pixel can be a line, between 0 and 1. Lower "
        "finds fainter edges. Empty: the data set's own, else that of HED's weights (0.5).",
    )
    min_pixels: int | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        ge=0,
        le=10_000,
        description="Parts of lines with fewer pixels are removed. Empty: the data set's own (5).",
    )
    border: int | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        ge=0,
        le=256,
        description="Reflected pixels around the picture. Smaller is quicker. Empty: 98.",
    )
    scale: int | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        ge=1,
        le=4,
        description="Find edges of large pictures at up to this many times the size; costs up to "
        "its square as much. Empty: the data set's own (1).",
    )
    min_density: float | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        ge=0,
        lt=1,
        description="A drawing with a smaller share of line pixels is rejected. Empty: 0.002.",
    )

    @property
    def edge_overrides(self) -> dict[str, Any]:
        """Those that are chosen."""
        return self.model_dump(include=set(EdgeOptions.model_fields))


class PrepareOptions(EdgeOptions):
    """What is to be other than the catalogue says; what is empty stays as it is there."""

    fit: Literal["cover", "contain", "stretch"] | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        description="How pictures get onto the square. Empty: the data set's own way.",
    )
    limit: int | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        ge=1,
        description="Take at most so many pictures, always the same ones: for a trial.",
    )
    everything: bool = Field(
        default=False, description="Take all that the source holds, not the usual choice of it."
    )
    re_extract: bool = Field(
        default=False, description="Of published pairs take the picture alone, and find its edges."
    )
    where: dict[str, tuple[str, ...]] = Field(
        default={},
        description="Take only pictures whose row in the data set's tables has one of these values "
        "in a column.",
    )
    archive: str | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        description="Your own copy of what the source holds: a folder or archive that the worker "
        "can read.",
    )
    tables: str | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        description="Your own copy of the tables.",
    )
    name: str | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        description="What to call a folder or archive that is not in the catalogue.",
    )
    paired: bool = Field(
        default=False, description="A folder or archive of yours holds pairs: drawing | picture."
    )


def make_options(**values: object) -> PrepareOptions:
    """Return checked choices.

    Raises
    ------
    InputError
        If a value does not fit; the message names it.
    """
    try:
        return PrepareOptions.model_validate(values)
    except ValidationError as error:
        raise InputError(format_validation_error(error)) from None


def format_validation_error(error: ValidationError) -> str:
    """Return pydantic's findings as one line that names each key."""
    faults = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            faults.append(f"{key}: unknown key")
        elif fault["type"] == "missing":
            faults.append(f"{key}: missing")
        else:
            faults.append(f"{key}: {fault['msg']}, got {fault['input']!r}")
    return "; ".join(faults)
