"""What the fields of Prefect's forms offer and say.

Prefect writes its own title and description over a ``Field``'s, but not over what its schema holds
besides.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from datasets import load_catalogue


def _says(description: str, **more: Any) -> Any:
    return Field(json_schema_extra={"description": description, **more})


def _one_of(description: str, *options: str) -> WithJsonSchema:
    """Return a drop-down that may stay empty."""
    return WithJsonSchema({"type": "string", "enum": list(options), "description": description})


# The server takes no other name. A flow that is called from Python, as the command line does, also
# takes the path of a folder or archive.
DataSetName = Annotated[
    str, _says("A data set of the catalogue.", title="Data set", enum=sorted(load_catalogue()))
]

Engine = Annotated[
    Literal["auto", "opencv", "openvino", "torch"] | None,
    _one_of("What runs HED. Empty: as the worker is set.", "auto", "opencv", "openvino", "torch"),
]

Fit = Annotated[
    Literal["cover", "contain", "stretch"] | None,
    _one_of(
        "How pictures get onto the square. Empty: the data set's own way.",
        *("cover", "contain", "stretch"),
    ),
]

Why = Annotated[str, Field(max_length=80), _says("Why, for the list of runs.")]

Refresh = Annotated[bool, _says("Do it again though it is done, as a new one beside the old.")]

Accept = Annotated[
    bool, _says("Accept the data set's licence, where it asks for that; once is enough.")
]

Partial = Annotated[bool, _says("Go on where the source holds fewer pictures than expected.")]

Newest = Annotated[bool, _says("Acquire what the source holds now, though it was acquired before.")]

Use = Annotated[
    bool, _says("Put the pair set into use when it is complete; off: look at it first.")
]

Start = Annotated[bool, _says("Prepare what has changed; off: only look, and say what has.")]

Fingerprint = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{12}$"),
    _says(
        "Twelve hex digits that name a pair set: in the artifacts of the run that made it, in its "
        "report, and in what `icanvas use DATASET` lists."
    ),
]

Pictures = Annotated[int, Field(ge=1), _says("How many to compare, taken evenly from all.")]

Recipe = Annotated[
    dict[str, bool | int | float | str] | None,
    WithJsonSchema(
        {
            "type": "object",
            "description": 'Changes to the recipe by field, as in {"epochs": 5}; docs/training.md.',
        }
    ),
]

# What a folder or archive was called that is not in the catalogue; a drop-down has no such name.
OwnName = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "description": "Leave empty for a data set of the list."}),
]
