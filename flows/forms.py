"""What the fields of Prefect's forms offer and say."""

from typing import Annotated, Literal

from pydantic import Field

from datasets import EdgeChoices, load_catalogue

# A drop-down for operators: the server takes no other name. A flow that is called from Python, as
# the command line does, also takes the path of a folder or archive.
DataSetName = Annotated[
    str,
    Field(
        title="Data set",
        description="A data set of the catalogue.",
        json_schema_extra={"enum": sorted(load_catalogue())},
    ),
]

Engine = Annotated[
    Literal["auto", "opencv", "openvino", "torch"] | None,
    Field(description="What runs HED. Empty: as the worker is set."),
]

Why = Annotated[str, Field(description="Why, for the list of runs.", max_length=80)]

Refresh = Annotated[
    bool, Field(description="Do it again though it is done, as a new one beside the old.")
]

Accept = Annotated[
    bool,
    Field(description="Accept the data set's licence, where it asks for that; once is enough."),
]

Partial = Annotated[
    bool, Field(description="Go on where the source holds fewer pictures than expected.")
]

Newest = Annotated[
    bool, Field(description="Acquire what the source holds now, though it was acquired before.")
]

Fit = Annotated[
    Literal["cover", "contain", "stretch"] | None,
    Field(description="How pictures get onto the square. Empty: the data set's own way."),
]

Use = Annotated[
    bool,
    Field(description="Put the pair set into use when it is complete; off: look at it first."),
]

Edges = Annotated[
    EdgeChoices,
    Field(description="How edges become lines. What is empty stays as the catalogue says."),
]

Fingerprint = Annotated[
    str,
    Field(
        pattern=r"^[0-9a-f]{12}$",
        description="Twelve hex digits that name a pair set: in the artifacts of the run that made "
        "it, in its report, and in what `icanvas use DATASET` lists.",
    ),
]

Pictures = Annotated[int, Field(ge=1, description="How many to compare, taken evenly from all.")]

Recipe = Annotated[
    dict[str, bool | int | float | str] | None,
    Field(description='Changes to the recipe by field, as in {"epochs": 5}; docs/training.md.'),
]
