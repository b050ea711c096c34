"""Options of a preparation, which override the catalogue entry or the defaults."""

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

# Prefect's forms show the class docstrings and field descriptions to operators.


def _optional_field_schema(schema: dict[str, Any]) -> None:
    """Show one plain field that may stay empty in a form, instead of a choice of types."""
    value_schema = next(kind for kind in schema.pop("anyOf") if kind.get("type") != "null")
    schema.pop("default", None)
    schema.update(value_schema)


class EdgeOptions(BaseModel):
    """Extraction of line drawings. An empty field keeps the catalogue's value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="wrap")
    def _omit_none(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value is not None}

    threshold: float | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        gt=0,
        lt=1,
        description="Edge probability above which a pixel can be a line, between 0 and 1. Lower "
        "values find fainter edges. Empty: the data set's value, else that of HED's weights (0.5).",
    )
    min_pixels: int | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        ge=0,
        le=10_000,
        description="Connected parts of lines with fewer pixels are removed. Empty: the data set's "
        "value (5).",
    )
    border: int | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        ge=0,
        le=256,
        description="Reflection padding around the picture in pixels. Smaller is faster. Empty: "
        "98.",
    )
    scale: int | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        ge=1,
        le=4,
        description="Detect edges of large pictures at up to this multiple of the size; costs up "
        "to its square as much. Empty: the data set's value (1).",
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
        """Edge settings that are set, by field name."""
        return self.model_dump(include=set(EdgeOptions.model_fields))


class PrepareOptions(EdgeOptions):
    """Preparation of a data set. An empty field keeps the catalogue's value."""

    fit: Literal["cover", "contain", "stretch"] | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        description="How pictures are fitted to the square. Empty: the data set's value.",
    )
    limit: int | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        ge=1,
        description="Maximum number of pictures, always the same ones, for a trial run.",
    )
    everything: bool = Field(
        default=False,
        description="Use all pictures of the source instead of the catalogue's random subset.",
    )
    re_extract: bool = Field(
        default=False,
        description="Use only the picture of published pairs, and extract its edges.",
    )
    where: dict[str, tuple[str, ...]] = Field(
        default={},
        description="Select pictures whose row in the data set's tables has one of these values in "
        "a column.",
    )
    archive: str | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        description="Your own copy of the source: a folder or archive that the worker can read.",
    )
    tables: str | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        description="Your own copy of the tables.",
    )
    name: str | None = Field(
        default=None,
        json_schema_extra=_optional_field_schema,
        description="Name for a folder or archive that is not in the catalogue.",
    )
    paired: bool = Field(
        default=False,
        description="The folder or archive holds pairs: drawing | picture.",
    )


def make_options(**values: object) -> PrepareOptions:
    """Validate options.

    Parameters
    ----------
    **values : object
        Fields of ``PrepareOptions``.

    Returns
    -------
    PrepareOptions
        Valid options.

    Raises
    ------
    InputError
        If a value is invalid; the message names the field.
    """
    try:
        return PrepareOptions.model_validate(values)
    except ValidationError as error:
        raise InputError(format_validation_error(error)) from None


def format_validation_error(error: ValidationError) -> str:
    """Format pydantic's errors as one line.

    Parameters
    ----------
    error : ValidationError
        Error with one or more findings.

    Returns
    -------
    str
        One phrase per finding with the key, separated by semicolons.

    Examples
    --------
    >>> try:
    ...     PrepareOptions.model_validate({"limit": 0})
    ... except ValidationError as error:
    ...     print(format_validation_error(error))
    limit: Input should be greater than or equal to 1, got 0
    """
    phrases = []
    for finding in error.errors():
        key = ".".join(str(part) for part in finding["loc"])
        if finding["type"] == "extra_forbidden":
            phrases.append(f"{key}: unknown key")
        elif finding["type"] == "missing":
            phrases.append(f"{key}: missing")
        else:
            phrases.append(f"{key}: {finding['msg']}, got {finding['input']!r}")
    return "; ".join(phrases)
