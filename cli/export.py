"""``icanvas export``."""

from typing import Annotated, Literal

import typer

from cli.console import console, err_console, print_locations, show_progress_bars
from cli.options import Cache, Name, Store
from cli.preflight import check_local_folder
from config.errors import SourceError
from config.settings import get_settings, override_settings


def export(
    source: Annotated[
        str, typer.Argument(help="A data set's name, or a folder or archive that was prepared.")
    ],
    folder: Annotated[str, typer.Argument(help="Folder to write to, new or empty.", metavar="DIR")],
    form: Annotated[
        Literal["folder", "hf", "webdataset"],
        typer.Option(
            "--format",
            help="folder: side-by-side JPEGs, the pix2pix layout; hf: Hugging Face's ImageFolder; "
            "webdataset: tars.",
        ),
    ] = "folder",
    pairs: Annotated[
        str | None,
        typer.Option(help="A pair set other than the current one.", metavar="FINGERPRINT"),
    ] = None,
    name: Name = None,
    store: Store = None,
    cache: Cache = None,
) -> None:
    """Write a data set's pairs in a format of other trainers."""
    override_settings(store=store, cache=cache)
    from sources import find_prepared_dataset, format_license_terms
    from storage import keys, open_store
    from storage.raw_sets import read_origin
    from tasks.export import export_pairs

    target = check_local_folder(folder)
    object_store = open_store(get_settings().store)
    dataset, current = find_prepared_dataset(object_store, source, name)
    if pairs is None:
        if current is None:
            raise SourceError(f"{dataset.name} has no pairs. Run `icanvas prepare {source}`.")
        pairs = current.fingerprint
    try:
        with show_progress_bars():
            result = export_pairs(object_store, dataset, pairs, target, form)
    except KeyboardInterrupt:
        err_console.print("[bold red]icanvas:[/] interrupted; the incomplete export was deleted.")
        raise
    console.print(
        f"[bold]{dataset.name}[/]: {result.train:,} training and {result.val:,} validation pairs "
        f"of pair set {pairs}"
    )
    origin = read_origin(object_store, keys.latest_origin(dataset.name))
    locations = {"export": str(result.folder), "license": format_license_terms(dataset, origin)}
    print_locations(locations.items())
