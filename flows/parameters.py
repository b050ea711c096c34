"""Types of flow parameters: their names, limits and descriptions in Prefect's forms.

Prefect overwrites the title and description of a ``Field``, but keeps those in
``json_schema_extra``.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from config import recipe
from sources import load_catalogue


def _describe(description: str, **more: Any) -> Any:
    return Field(json_schema_extra={"description": description, **more})


# The server accepts only these names. A flow that is called from Python, as the command line does,
# also accepts the path of a folder or archive.
DatasetName = Annotated[
    str, _describe("A data set of the catalogue.", title="Data set", enum=sorted(load_catalogue()))
]

# Default of drop-downs: for None the form would send null, which the server rejects.
DEFAULT: Literal["default"] = "default"

EngineName = Annotated[
    Literal["default", "auto", "opencv", "openvino", "torch"],
    _describe("HED engine. default: as set on the worker."),
]

FitMode = Annotated[
    Literal["default", "cover", "contain", "stretch"],
    _describe("How pictures are fitted to the square. default: as set for the data set."),
]

Reason = Annotated[str, Field(max_length=80), _describe("Shown in the name of the flow run.")]

Force = Annotated[bool, _describe("Do it again although it is done; the old result stays.")]

AcceptLicense = Annotated[
    bool, _describe("Accept the license of the data set, if it requires that; once is enough.")
]

AllowPartial = Annotated[
    bool, _describe("Continue if the source holds fewer pictures than expected.")
]

Update = Annotated[
    bool, _describe("Acquire what the source holds now, even if it was acquired before.")
]

Use = Annotated[
    bool, _describe("Put the pair set into use when it is complete. Off: review it first.")
]

AutoStart = Annotated[bool, _describe("Prepare data sets that have changed. Off: only check.")]

Fingerprint = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{12}$"),
    _describe(
        "Fingerprint of a pair set, 12 hex digits: see the artifacts of the run that made it, its "
        "report, or `icanvas use DATASET`."
    ),
]

CheckpointName = Annotated[
    str,
    Field(pattern=r"^(last|[0-9a-f]{12}/(epoch-)?[0-9]{1,9})$"),
    _describe("RUN/EPOCH, as in the artifacts of `train` and `compare`; last: the newest."),
]

Note = Annotated[str, Field(max_length=500), _describe("Why; stored with the promotion.")]

Author = Annotated[str, Field(max_length=80), _describe("Who decided; stored with the promotion.")]

VotesFile = Annotated[
    str,
    Field(max_length=200_000),
    _describe("Content of the file that the vote page saved; stored with the promotion."),
]

TargetVersion = Annotated[
    str,
    Field(pattern=r"^(|[0-9a-f]{12}/[0-9]{1,9})$"),
    _describe("RUN/EPOCH of an earlier promotion. Empty: the previous one."),
]

NumPictures = Annotated[
    int, Field(ge=1), _describe("Number of pictures to compare, evenly spaced over the data set.")
]

MaxSamples = Annotated[
    int,
    Field(ge=1, le=1000),
    _describe("Maximum number of validation pairs, and of sketches; evenly spaced."),
]

Runs = Annotated[
    tuple[str, ...],
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string"},
            "description": "Compare only checkpoints of these runs, and the promoted one. Empty: "
            "all runs.",
        }
    ),
]

Sketches = Annotated[
    str,
    _describe(
        "Folder or archive of hand-drawn sketches on the worker's machine, or name of a prepared "
        "set of them. Empty: the sketches of the data set."
    ),
]

Decide = Annotated[
    bool, _describe("Pause until somebody has chosen a checkpoint in a form, and promote it.")
]


def _make_recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of changes to a recipe: its fields, all optional."""
    fields: dict[str, dict[str, Any]] = recipe.Recipe.model_json_schema()["properties"]
    for name, field in fields.items():
        # The field name, as in --set and in the documentation.
        field["title"] = name
        default = json.dumps(field.pop("default"))
        field["description"] += f" Empty: as in the recipe of the data set, else {default}."
    return {
        "type": "object",
        "description": "Changes to the recipe of the data set (docs/training.md).",
        "properties": fields,
        "additionalProperties": False,
    }


RecipeChanges = Annotated[
    dict[str, bool | int | float | str] | None, WithJsonSchema(_make_recipe_schema())
]

# Name of a prepared folder or archive, which the drop-down of the catalogue does not hold.
LocalName = Annotated[
    str | None,
    WithJsonSchema(
        {"type": "string", "description": "Leave empty for a data set of the catalogue."}
    ),
]
