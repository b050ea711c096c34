"""What the fields of Prefect's forms offer and say.

Prefect writes its own title and description over a ``Field``'s, but not over what its schema holds
besides.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from config import recipe
from sources import load_catalogue


def _describe(description: str, **more: Any) -> Any:
    return Field(json_schema_extra={"description": description, **more})


# The server takes no other name. A flow that is called from Python, as the command line does, also
# takes the path of a folder or archive.
DatasetName = Annotated[
    str, _describe("A data set of the catalogue.", title="Data set", enum=sorted(load_catalogue()))
]

# What a drop-down holds that is left alone: the form would send null for None, and the server would
# refuse it.
DEFAULT: Literal["default"] = "default"

EngineName = Annotated[
    Literal["default", "auto", "opencv", "openvino", "torch"],
    _describe("What runs HED. default: as the worker is set."),
]

FitMode = Annotated[
    Literal["default", "cover", "contain", "stretch"],
    _describe("How pictures get onto the square. default: the data set's own way."),
]

Reason = Annotated[str, Field(max_length=80), _describe("Why, for the list of runs.")]

Force = Annotated[bool, _describe("Do it again though it is done, as a new one beside the old.")]

AcceptLicense = Annotated[
    bool, _describe("Accept the data set's licence, where it asks for that; once is enough.")
]

AllowPartial = Annotated[
    bool, _describe("Go on where the source holds fewer pictures than expected.")
]

Update = Annotated[
    bool, _describe("Acquire what the source holds now, though it was acquired before.")
]

Use = Annotated[
    bool, _describe("Put the pair set into use when it is complete; off: look at it first.")
]

AutoStart = Annotated[
    bool, _describe("Prepare what has changed; off: only look, and say what has.")
]

Fingerprint = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{12}$"),
    _describe(
        "Twelve hex digits that name a pair set: in the artifacts of the run that made it, in its "
        "report, and in what `icanvas use DATASET` lists."
    ),
]

CheckpointName = Annotated[
    str,
    Field(pattern=r"^(last|[0-9a-f]{12}/(epoch-)?[0-9]{1,9})$"),
    _describe("RUN/EPOCH as the artifacts of `train` and `compare` name it; last: the newest."),
]

Note = Annotated[str, Field(max_length=500), _describe("Why; kept with the promotion.")]

Author = Annotated[str, Field(max_length=80), _describe("Who chooses; kept with the promotion.")]

VotesFile = Annotated[
    str,
    Field(max_length=200_000),
    _describe("The file that `compare`'s voting page saved, pasted; kept with the promotion."),
]

TargetVersion = Annotated[
    str,
    Field(pattern=r"^(|[0-9a-f]{12}/[0-9]{1,9})$"),
    _describe("RUN/EPOCH of an older one than the last; the last one when left empty."),
]

NumPictures = Annotated[int, Field(ge=1), _describe("How many to compare, taken evenly from all.")]

MaxSamples = Annotated[
    int,
    Field(ge=1, le=1000),
    _describe("Validation pairs and drawings by hand at most, taken evenly from all."),
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

Sketches = Annotated[
    str,
    _describe(
        "A folder or archive of drawings by hand on the worker's machine, or the name of a "
        "prepared set of them; the data set's own when left empty."
    ),
]

Decide = Annotated[
    bool, _describe("Pause until somebody has chosen a checkpoint in a form, and promote it.")
]


def _make_recipe_schema() -> dict[str, Any]:
    """Return the schema of changes to a recipe: its fields, each of which may stay empty."""
    fields: dict[str, dict[str, Any]] = recipe.Recipe.model_json_schema()["properties"]
    for name, field in fields.items():
        # As the command line and the documents call it.
        field["title"] = name
        default = json.dumps(field.pop("default"))
        field["description"] += f" Empty: as the data set's recipe has it, else {default}."
    return {
        "type": "object",
        "description": "What is to be other than the data set's recipe says (docs/training.md).",
        "properties": fields,
        "additionalProperties": False,
    }


RecipeChanges = Annotated[
    dict[str, bool | int | float | str] | None, WithJsonSchema(_make_recipe_schema())
]

# What a folder or archive was called that is not in the catalogue; a drop-down has no such name.
LocalName = Annotated[
    str | None,
    WithJsonSchema({"type": "string", "description": "Leave empty for a data set of the list."}),
]
