"""Options that several subcommands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Store = Annotated[
    str | None,
    typer.Option(
        help="Where results are stored: s3://bucket/prefix, file:///path or a folder.",
        metavar="URL",
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(help="Folder for weights, archives and other cached files.", metavar="FOLDER"),
]
Engine = Annotated[
    str | None,
    typer.Option(help="Engine for HED: opencv (default), openvino, torch or auto.", metavar="NAME"),
]
WeightsFile = Annotated[
    Path | None,
    typer.Option("--weights", help="HED weights of your own (docs/weights.md).", metavar="FILE"),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Concurrent HED networks on the CPU; they share the cores.", min=1),
]
Processes = Annotated[
    str | None,
    typer.Option(
        help="Processes that train together, one a GPU; auto for every GPU.", metavar="N|auto"
    ),
]
Runner = Annotated[
    str | None,
    typer.Option(
        help="Where shards are extracted: threads (default), processes, ray or dask.",
        metavar="NAME",
    ),
]
Name = Annotated[str | None, typer.Option(help="Name for a folder or archive.", metavar="NAME")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Prefect's log.")]
Paired = Annotated[
    bool, typer.Option("--paired", help="The files are pairs already: drawing | picture.")
]
ReExtract = Annotated[
    bool, typer.Option("--re-extract", help="Of pairs, extract the picture's edges again.")
]
FitOption = Annotated[
    Literal["cover", "contain", "stretch"] | None,
    typer.Option("--fit", help="How pictures are fitted to the square."),
]
Threshold = Annotated[
    float | None,
    typer.Option(help="Edge probability from which a pixel can be a line, 0 to 1."),
]
ArchivePath = Annotated[
    str | None,
    typer.Option(help="Your own copy of the data set: an archive or folder.", metavar="PATH"),
]
Everything = Annotated[
    bool, typer.Option("--all", help="Take every picture instead of the sample (cartoon).")
]
Where = Annotated[
    list[str] | None,
    typer.Option(help="Select by the data set's tables; repeatable.", metavar="COLUMN=VALUE"),
]
Tables = Annotated[str | None, typer.Option(help="Your own copy of the tables.", metavar="PATH")]
AcceptLicense = Annotated[
    bool,
    typer.Option("--accept-license", help="Accept the data set's license; needed once."),
]
AllowPartial = Annotated[
    bool,
    typer.Option("--allow-partial", help="Continue with fewer pictures than expected."),
]
AllowHttp = Annotated[bool, typer.Option("--allow-http", help="Fetch from a server without https.")]
Limit = Annotated[
    int | None,
    typer.Option(help="Take at most this many pictures, always the same ones.", min=1),
]
Update = Annotated[
    bool,
    typer.Option(
        "--update", help="Acquire the source's present version, even if an older one is stored."
    ),
]
