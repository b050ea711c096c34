"""``icanvas export-model``: what was trained, for other programs."""

from typing import Annotated

import typer

from cli.console import out, print_places, show_progress_bars
from cli.options import Name, Store
from cli.preflight import local_folder
from config.errors import SourceError
from config.settings import get_settings, override_settings


def export_model(
    source: Annotated[
        str, typer.Argument(help="A data set's name, or a folder or archive that was prepared.")
    ],
    folder: Annotated[
        str, typer.Argument(help="Where the files go: a folder of this machine.", metavar="DIR")
    ],
    checkpoint: Annotated[
        str | None,
        typer.Option(help="Another than the last one of the newest run.", metavar="RUN/EPOCH"),
    ] = None,
    name: Name = None,
    store: Store = None,
) -> None:
    """Write a trained generator as safetensors and as ONNX, and check that they agree."""
    override_settings(store=store)
    place = local_folder(folder).expanduser().resolve()
    from sources import find_prepared, state_licence
    from storage import keys, open_store
    from storage.checkpoint_names import choose_checkpoint
    from storage.raw_sets import read_origin
    from storage.runs import list_checkpoints

    opened = open_store(get_settings().store)
    dataset, _ = find_prepared(opened, source, name)
    there = list_checkpoints(opened, dataset.name)
    if not there:
        raise SourceError(f"{dataset.name} has no checkpoint. Run `icanvas train {source}`.")
    run, epoch = choose_checkpoint(checkpoint, there)
    # PyTorch takes seconds to import: a slip is met before.
    from model.export.generator import export_generator
    from tasks.progress import bar

    with show_progress_bars(), bar(f"{dataset.name}: export"):
        made = export_generator(opened, dataset.name, run, epoch, place)
    card = made.export.card
    out.print(
        f"[bold]{dataset.name}[/]: generator of run {run} after epoch {epoch}, "
        f"{card.image_size} px; both files give its pictures, to {made.export.apart:.1g} in [-1, 1]"
    )
    origin = read_origin(opened, keys.newest_origin(dataset.name))
    places = {
        "safetensors": str(made.weights),
        "ONNX": str(made.network),
        "licence of the pictures": state_licence(dataset, origin),
    }
    print_places(places.items())
