"""``icanvas promote`` and ``rollback``: what is served."""

import getpass
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cli.console import make_table, out, print_places, show_progress_bars
from cli.options import Name, Store
from config.errors import InputError, SourceError
from config.settings import get_settings, override_settings

if TYPE_CHECKING:
    from storage import ObjectStore
    from storage.promotions import Promoted

Note = Annotated[str, typer.Option(help="Why; kept with it.", metavar="TEXT")]
By = Annotated[
    str | None, typer.Option(help="Who chose; your user name when left out.", metavar="WHO")
]


def promote(
    source: Annotated[
        str, typer.Argument(help="A data set's name, or a folder or archive that was prepared.")
    ],
    checkpoint: Annotated[
        str | None,
        typer.Argument(
            help="Which one, or last for the newest; all are listed without.", metavar="RUN/EPOCH"
        ),
    ] = None,
    note: Note = "",
    by: By = None,
    votes: Annotated[
        list[Path] | None,
        typer.Option(
            help="Votes that it was chosen by, as compare's page saves them; repeatable.",
            metavar="FILE",
        ),
    ] = None,
    name: Name = None,
    store: Store = None,
) -> None:
    """Put a checkpoint into service: export its generator, check it, point at it."""
    override_settings(store=store)
    from model.evaluation.votes import read_ballots, tally
    from sources import find_prepared
    from storage import open_store
    from storage.checkpoint_names import choose_checkpoint
    from storage.promotions import read_promoted
    from storage.runs import list_checkpoints

    opened = open_store(get_settings().store)
    dataset, _ = find_prepared(opened, source, name)
    there = list_checkpoints(opened, dataset.name)
    if not there:
        raise SourceError(f"{dataset.name} has no checkpoint. Run `icanvas train {source}`.")
    if checkpoint is None:
        _print_checkpoints(opened, dataset.name, there)
        out.print(f"\nTo serve one: icanvas promote {escape(source)} RUN/EPOCH --note WHY")
        return
    run, epoch = choose_checkpoint(checkpoint, there)
    ballots = read_ballots((_read(file) for file in votes or ()), dataset.name)
    # PyTorch takes seconds to import: a slip is met before.
    from model.export.promotion import promote as put_into_service
    from tasks.progress import bar

    before = read_promoted(opened, dataset.name)
    with show_progress_bars(), bar(f"{dataset.name}: export and check"):
        chosen = put_into_service(
            opened,
            dataset.name,
            run,
            epoch,
            title=dataset.title,
            note=note,
            by=_name(by),
            votes=ballots,
        )
    _print_promoted(
        opened, dataset.name, chosen, "is in service already" if chosen == before else ""
    )
    for what, count in tally(ballots).items():
        out.print(f"  {count} votes for {what or 'none of them'}")


def rollback(
    dataset: Annotated[str, typer.Argument(help="A data set's name.", metavar="DATASET")],
    to: Annotated[
        str | None,
        typer.Option(help="An older one than the last.", metavar="RUN/EPOCH"),
    ] = None,
    note: Note = "",
    by: By = None,
    store: Store = None,
) -> None:
    """Put back into service what was before; once more leads forth again."""
    override_settings(store=store)
    from model.export.promotion import roll_back
    from storage import open_store

    opened = open_store(get_settings().store)
    chosen = roll_back(opened, dataset, to=to, note=note, by=_name(by))
    _print_promoted(opened, dataset, chosen)


def _read(file: Path) -> bytes:
    try:
        return file.expanduser().read_bytes()
    except OSError as error:
        raise InputError(f"--votes {file}: it cannot be read ({error.strerror}).") from None


def _name(by: str | None) -> str:
    if by is not None:
        return by
    # A container may have no user of a name.
    with suppress(OSError, KeyError):
        return getpass.getuser()
    return ""


def _print_checkpoints(store: "ObjectStore", dataset: str, there: dict[str, list[int]]) -> None:
    from storage.promotions import read_promoted
    from storage.runs import Run

    served = read_promoted(store, dataset)
    before = {old.checkpoint for old in served.previous} if served is not None else set()
    table = make_table("", "what", "val_l1", "")
    for run in there:
        for record in Run(store, dataset, run).checkpoints():
            what, figure = f"{run}/{record.epoch}", record.metrics.get("val_l1")
            in_service = served is not None and served.checkpoint == what
            said = "in service" if in_service else "was in service" if what in before else ""
            table.add_row(
                "[green]✓[/]" if in_service else "",
                what,
                "–" if figure is None else f"{figure:.4f}",
                said,
            )
    out.print(table)


def _print_promoted(
    store: "ObjectStore", dataset: str, promoted: "Promoted", said: str = ""
) -> None:
    from storage import keys

    said = said or "is in service; a running server takes it up within a minute"
    out.print(f"[bold]{dataset}[/]: {promoted.checkpoint} {said}")
    places = {
        "files": store.location(keys.export_folder(dataset, promoted.export)),
        "pointer": store.location(keys.promoted(dataset)),
    }
    if promoted.previous:
        places["before"] = (
            f"{promoted.previous[0].checkpoint}, back with icanvas rollback {dataset}"
        )
    places["serve it"] = "icanvas serve"
    print_places(places.items())
