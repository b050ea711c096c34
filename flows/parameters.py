"""What the fields of Prefect's forms offer and say.

Prefect writes its own title and description over a ``Field``'s, but not over what its schema holds
besides.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from config import recipe
from sources import load_catalogue


def _says(description: str, **more: Any) -> Any:
    return Field(json_schema_extra={"description": description, **more})


# The server takes no other name. A flow that is called from Python, as the command line does, also
# takes the path of a folder or archive.
DataSetName = Annotated[
    str, _says("A data set of the catalogue.", title="Data set", enum=sorted(load_catalogue()))
]

# What a drop-down holds that is left alone: the form would send null for None, and the server would
# refuse it.
DEFAULT: Literal["default"] = "default"

Engine = Annotated[
    Literal["default", "auto", "opencv", "openvino", "torch"],
    _says("What runs HED. default: as the worker is set."),
]

Fit = Annotated[
    Literal["default", "cover", "contain", "stretch"],
    _says("How pictures get onto the square. default: the data set's own way."),
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

Checkpoint = Annotated[
    str,
    Field(pattern=r"^(last|[0-9a-f]{12}/(epoch-)?[0-9]{1,9})$"),
    _says("RUN/EPOCH as the artifacts of `train` and `compare` name it; last: the newest."),
]

Note = Annotated[str, Field(max_length=500), _says("Why; kept with the promotion.")]

Who = Annotated[str, Field(max_length=80), _says("Who chooses; kept with the promotion.")]

Ballot = Annotated[
    str,
    Field(max_length=200_000),
    _says("The file that `compare`'s voting page saved, pasted; kept with the promotion."),
]

Earlier = Annotated[
    str,
    Field(pattern=r"^(|[0-9a-f]{12}/[0-9]{1,9})$"),
    _says("RUN/EPOCH of an older one than the last; the last one when left empty."),
]

Pictures = Annotated[int, Field(ge=1), _says("How many to compare, taken evenly from all.")]

Judged = Annotated[
    int,
    Field(ge=1, le=1000),
    _says("Validation pairs and drawings by hand at most, taken evenly from all."),
]

Runs = Annotated[
    tuple[str, ...],
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string"},
            "description": "Checkpoints of these runs alone, beside the one in production; of all "
            "runs when left empty.",
        }
    ),
]

Drawings = Annotated[
    str,
    _says(
        "A folder or archive of drawings by hand on the worker's machine, or the name of a "
        "prepared set of them; the data set's own when left empty."
    ),
]

Decide = Annotated[
    bool, _says("Pause until somebody has chosen a checkpoint in a form, and promote it.")
]


def _describe_recipe() -> dict[str, Any]:
    """Return the schema of changes to a recipe: its fields, each of which may stay empty."""
    fields: dict[str, dict[str, Any]] = recipe.Recipe.model_json_schema()["properties"]
    for name, field in fields.items():
        # As the command line and the documents call it.
        field["title"] = name
        usual = json.dumps(field.pop("default"))
        field["description"] += f" Empty: as the data set's recipe has it, else {usual}."
    return {
        "type": "object",
        "description": "What is to be other than the data set's recipe says (docs/training.md).",
        "properties": fields,
        "additionalProperties": False,
    }


Recipe = Annotated[dict[str, bool | int | float | str] | None, WithJsonSchema(_describe_recipe())]

# What a folder or archive was called that is not in the catalogue; a drop-down has no such name.
OwnName = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "description": "Leave empty for a data set of the list."}),
]
