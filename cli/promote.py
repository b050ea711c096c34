"""``icanvas promote`` and ``icanvas rollback``."""

import getpass
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cli.console import console, make_table, print_locations, show_progress_bars
from cli.options import Name, Store
from config.errors import InputError, SourceError
from config.settings import get_settings, override_settings

if TYPE_CHECKING:
    from storage import ObjectStore
    from storage.promotions import Promoted

Note = Annotated[str, typer.Option(help="Reason; stored with the promotion.", metavar="TEXT")]
Author = Annotated[
    str | None,
    typer.Option("--by", help="Who chose it; by default your user name.", metavar="NAME"),
]


def promote(
    source: Annotated[
        str, typer.Argument(help="A data set's name, or a folder or archive that was prepared.")
    ],
    checkpoint: Annotated[
        str | None,
        typer.Argument(
            help="Checkpoint, or last for the newest; without it all are listed.",
            metavar="RUN/EPOCH",
        ),
    ] = None,
    note: Note = "",
    author: Author = None,
    votes: Annotated[
        list[Path] | None,
        typer.Option(
            help="Votes file of the vote page of `icanvas compare`; repeatable.",
            metavar="FILE",
        ),
    ] = None,
    name: Name = None,
    store: Store = None,
) -> None:
    """Put a checkpoint into service: export its generator, check it, move the pointer to it."""
    override_settings(store=store)
    from model.evaluation.votes import count_votes, read_votes_files
    from sources import find_prepared_dataset
    from storage import open_store
    from storage.checkpoint_selection import resolve_checkpoint
    from storage.promotions import read_promoted
    from storage.runs import list_checkpoints

    object_store = open_store(get_settings().store)
    dataset, _ = find_prepared_dataset(object_store, source, name)
    checkpoints = list_checkpoints(object_store, dataset.name)
    if not checkpoints:
        raise SourceError(f"{dataset.name} has no checkpoint. Run `icanvas train {source}`.")
    if checkpoint is None:
        _print_checkpoints(object_store, dataset.name, checkpoints)
        console.print(f"\nTo serve one: icanvas promote {escape(source)} RUN/EPOCH --note WHY")
        return
    run, epoch = resolve_checkpoint(checkpoint, checkpoints)
    ballots = read_votes_files((_read_votes_file(file) for file in votes or ()), dataset.name)
    # PyTorch takes seconds to import, so arguments are checked first.
    from model.export.promotion import promote_checkpoint as promote_to_service
    from tasks.progress import progress_bar

    previous = read_promoted(object_store, dataset.name)
    with show_progress_bars(), progress_bar(f"{dataset.name}: export and check"):
        promoted = promote_to_service(
            object_store,
            dataset.name,
            run,
            epoch,
            title=dataset.title,
            note=note,
            author=_resolve_author(author),
            votes=ballots,
        )
    _print_promoted(
        object_store,
        dataset.name,
        promoted,
        "is in service already" if promoted == previous else "",
    )
    for what, count in count_votes(ballots).items():
        console.print(f"  {count} votes for {what or 'none of them'}")


def rollback(
    dataset: Annotated[str, typer.Argument(help="Name of a data set.", metavar="DATASET")],
    target: Annotated[
        str | None,
        typer.Option(
            "--to", help="An earlier promotion than the previous one.", metavar="RUN/EPOCH"
        ),
    ] = None,
    note: Note = "",
    author: Author = None,
    store: Store = None,
) -> None:
    """Put the previous promotion back into service. A second rollback undoes the first."""
    override_settings(store=store)
    from model.export.promotion import rollback
    from storage import open_store

    object_store = open_store(get_settings().store)
    promoted = rollback(
        object_store, dataset, target=target, note=note, author=_resolve_author(author)
    )
    _print_promoted(object_store, dataset, promoted)


def _read_votes_file(file: Path) -> bytes:
    try:
        return file.expanduser().read_bytes()
    except OSError as error:
        raise InputError(f"Reading --votes {file} failed: {error.strerror}.") from None


def _resolve_author(author: str | None) -> str:
    if author is not None:
        return author
    # A container's user may have no name.
    with suppress(OSError, KeyError):
        return getpass.getuser()
    return ""


def _print_checkpoints(
    store: "ObjectStore", dataset: str, checkpoints: dict[str, list[int]]
) -> None:
    from storage.promotions import read_promoted
    from storage.runs import Run

    served = read_promoted(store, dataset)
    previously_served = {old.checkpoint for old in served.previous} if served is not None else set()
    table = make_table("", "object", "val_l1", "")
    for run in checkpoints:
        for record in Run(store, dataset, run).list_checkpoints():
            what, val_l1 = f"{run}/{record.epoch}", record.metrics.get("val_l1")
            in_service = served is not None and served.checkpoint == what
            status = "was in service" if what in previously_served else ""
            if in_service:
                status = "in service"
            table.add_row(
                "[green]✓[/]" if in_service else "",
                what,
                "–" if val_l1 is None else f"{val_l1:.4f}",
                status,
            )
    console.print(table)


def _print_promoted(
    store: "ObjectStore", dataset: str, promoted: "Promoted", status: str = ""
) -> None:
    from storage import keys

    status = status or "is in service; a running server loads it within a minute"
    console.print(f"[bold]{dataset}[/]: {promoted.checkpoint} {status}")
    locations = {
        "files": store.location(keys.export_folder(dataset, promoted.export)),
        "pointer": store.location(keys.promoted(dataset)),
    }
    if promoted.previous:
        locations["previous"] = (
            f"{promoted.previous[0].checkpoint}; to return to it: icanvas rollback {dataset}"
        )
    locations["serve it"] = "icanvas serve"
    print_locations(locations.items())
