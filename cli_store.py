"""``icanvas export``: what was prepared, for others."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from console import err, out, print_places, show_progress_bars
from errors import InputError, SourceError
from options import Cache, Name, Store
from settings import get_settings, override_settings


def export(
    source: Annotated[
        str, typer.Argument(help="A data set's name, or a folder or archive that was prepared.")
    ],
    folder: Annotated[
        str, typer.Argument(help="Where the files go: a folder, new or empty.", metavar="DIR")
    ],
    form: Annotated[
        Literal["folder", "hf", "webdataset"],
        typer.Option(
            "--format",
            help="folder: pairs as JPEG, as pix2pix reads them; hf: Hugging Face's ImageFolder; "
            "webdataset: tars.",
        ),
    ] = "folder",
    pairs: Annotated[
        str | None,
        typer.Option(help="Another pair set than the one in use.", metavar="FINGERPRINT"),
    ] = None,
    name: Name = None,
    store: Store = None,
    cache: Cache = None,
) -> None:
    """Write a data set's pairs as files that other trainers read."""
    override_settings(store=store, cache=cache)
    from datasets import find_prepared, state_licence
    from storage import open_store
    from tasks.export import export_pairs

    if "://" in folder:
        raise InputError(f"{folder}: an export goes into a folder of this machine. Name one.")
    opened = open_store(get_settings().store)
    dataset, current = find_prepared(opened, source, name)
    if pairs is None:
        if current is None:
            raise SourceError(f"{dataset.name} has no pairs. Run `icanvas prepare {source}`.")
        pairs = current.fingerprint
    try:
        with show_progress_bars():
            made = export_pairs(opened, dataset, pairs, Path(folder), form)
    except KeyboardInterrupt:
        err.print("[bold red]icanvas:[/] interrupted; nothing of the export was left.")
        raise
    out.print(
        f"[bold]{dataset.name}[/]: {made.train:,} training and {made.val:,} validation pairs "
        f"of pair set {pairs}"
    )
    print_places({"export": str(made.folder), "licence": state_licence(dataset)}.items())
