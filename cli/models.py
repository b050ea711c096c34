"""``icanvas export-model``: what was trained, for other programs."""

import re
from itertools import groupby
from typing import Annotated

import typer

from cli.console import out, print_places, show_progress_bars
from cli.options import Name, Store
from cli.sources import local_folder
from errors import InputError, SourceError
from settings import get_settings, override_settings


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
    from datasets import find_prepared, state_licence
    from model.export import export_generator
    from storage import keys, open_store
    from storage.rawsets import read_origin
    from storage.registry import list_checkpoints
    from tasks.progress import bar

    opened = open_store(get_settings().store)
    dataset, _ = find_prepared(opened, source, name)
    there = list_checkpoints(opened, dataset.name)
    if not there:
        raise SourceError(f"{dataset.name} has no checkpoint. Run `icanvas train {source}`.")
    run, epoch = choose_checkpoint(checkpoint, there)
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


def choose_checkpoint(wanted: str | None, there: dict[str, list[int]]) -> tuple[str, int]:
    """Return run and epoch of ``RUN/EPOCH``; of None the last of the newest run.

    Parameters
    ----------
    wanted : as a user gives it.
    there : epochs by run, as ``list_checkpoints`` returns them; at least one.

    Raises
    ------
    InputError
        If it is not written so.
    SourceError
        If it is not there; the message tells what is.
    """
    if wanted is None:
        run, epochs = list(there.items())[-1]
        return run, epochs[-1]
    found = re.fullmatch(r"([^/]+)/(?:epoch-)?(\d{1,9})", wanted)
    if found is None:
        run, epochs = list(there.items())[-1]
        raise InputError(
            f"--checkpoint {wanted}: write RUN/EPOCH, as in --checkpoint {run}/{epochs[-1]}."
        )
    run, epoch = found[1], int(found[2])
    if epoch not in there.get(run, []):
        known = "; ".join(f"{run}/{show_ranges(epochs)}" for run, epochs in there.items())
        raise SourceError(f"There is no checkpoint {wanted}. There are {known}.")
    return run, epoch


def show_ranges(numbers: list[int]) -> str:
    """Return rising numbers as a person writes them: ``1-3, 7, 9-12``."""
    groups = groupby(enumerate(numbers), lambda place: place[1] - place[0])
    runs = [[number for _, number in group] for _, group in groups]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
