"""``icanvas export-model``."""

from typing import Annotated

import typer

from cli.console import console, print_locations, show_progress_bars
from cli.options import Name, Store
from cli.preflight import check_local_folder
from config.errors import SourceError
from config.settings import get_settings, override_settings


def export_model(
    source: Annotated[
        str, typer.Argument(help="A data set's name, or a folder or archive that was prepared.")
    ],
    folder: Annotated[
        str, typer.Argument(help="Folder on this machine to write to.", metavar="DIR")
    ],
    checkpoint: Annotated[
        str | None,
        typer.Option(help="By default the last checkpoint of the newest run.", metavar="RUN/EPOCH"),
    ] = None,
    name: Name = None,
    store: Store = None,
) -> None:
    """Write a trained generator as safetensors and ONNX, and check that both agree."""
    override_settings(store=store)
    target = check_local_folder(folder).expanduser().resolve()
    from sources import find_prepared_dataset, format_license_terms
    from storage import keys, open_store
    from storage.checkpoint_selection import resolve_checkpoint
    from storage.raw_sets import read_origin
    from storage.runs import list_checkpoints

    object_store = open_store(get_settings().store)
    dataset, _ = find_prepared_dataset(object_store, source, name)
    checkpoints = list_checkpoints(object_store, dataset.name)
    if not checkpoints:
        raise SourceError(f"{dataset.name} has no checkpoint. Run `icanvas train {source}`.")
    run, epoch = resolve_checkpoint(checkpoint, checkpoints)
    # PyTorch takes seconds to import, so arguments are checked first.
    from model.export.generator import save_generator
    from tasks.progress import progress_bar

    with show_progress_bars(), progress_bar(f"{dataset.name}: export"):
        exported = save_generator(object_store, dataset.name, run, epoch, target)
    card = exported.export.card
    console.print(
        f"[bold]{dataset.name}[/]: generator of run {run} after epoch {epoch}, "
        f"{card.image_size} px; both files reproduce its pictures to "
        f"{exported.export.max_abs_diff:.1g} in [-1, 1]"
    )
    origin = read_origin(object_store, keys.latest_origin(dataset.name))
    locations = {
        "safetensors": str(exported.weights),
        "ONNX": str(exported.network),
        "license of the pictures": format_license_terms(dataset, origin),
    }
    print_locations(locations.items())
