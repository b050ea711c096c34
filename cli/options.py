"""The options that several subcommands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Store = Annotated[
    str | None,
    typer.Option(
        help="Where results go: s3://bucket/prefix, file:///path or a folder.", metavar="URL"
    ),
]
Cache = Annotated[
    Path | None, typer.Option(help="Where weights and archives are kept.", metavar="FOLDER")
]
Engine = Annotated[
    str | None,
    typer.Option(help="What runs HED: opencv (default), openvino, torch or auto.", metavar="NAME"),
]
WeightsFile = Annotated[
    Path | None,
    typer.Option("--weights", help="HED weights of your own (docs/weights.md).", metavar="FILE"),
]
Workers = Annotated[
    int | None, typer.Option(help="HED networks at once on the CPU; they share the cores.", min=1)
]
Processes = Annotated[
    str | None,
    typer.Option(
        help="Processes that train together, one a GPU; auto takes every GPU.", metavar="N|auto"
    ),
]
Runner = Annotated[
    str | None,
    typer.Option(
        help="What shards are shared out to: threads (default), processes, ray or dask.",
        metavar="NAME",
    ),
]
Name = Annotated[str | None, typer.Option(help="What to call a folder or archive.", metavar="NAME")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Prefect's log.")]
Paired = Annotated[
    bool, typer.Option("--paired", help="The files are pairs already: drawing | picture.")
]
ReExtract = Annotated[
    bool, typer.Option("--re-extract", help="Of pairs, find the picture's edges anew.")
]
Fit = Annotated[
    Literal["cover", "contain", "stretch"] | None,
    typer.Option("--fit", help="How pictures get onto the square."),
]
Threshold = Annotated[
    float | None,
    typer.Option(help="Edge probability from which on a pixel can be a line, 0 to 1."),
]
Archive = Annotated[
    str | None,
    typer.Option(help="Your own copy of the data set: an archive or folder.", metavar="PATH"),
]
Everything = Annotated[
    bool, typer.Option("--all", help="Take every picture, not the usual choice (cartoon).")
]
Where = Annotated[
    list[str] | None,
    typer.Option(help="Choose by the data set's tables; repeatable.", metavar="COLUMN=VALUE"),
]
Tables = Annotated[str | None, typer.Option(help="Your own copy of the tables.", metavar="PATH")]
AcceptLicense = Annotated[
    bool,
    typer.Option("--accept-license", help="Accept the data set's licence; once is enough."),
]
AllowPartial = Annotated[
    bool,
    typer.Option("--allow-partial", help="Go on where fewer pictures are found than expected."),
]
AllowHttp = Annotated[bool, typer.Option("--allow-http", help="Fetch from a server without https.")]
Limit = Annotated[
    int | None,
    typer.Option(help="Take at most so many pictures, always the same ones.", min=1),
]
Update = Annotated[
    bool,
    typer.Option(
        "--update", help="Acquire the source's present version, even if an older one is stored."
    ),
]
