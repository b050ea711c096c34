"""``icanvas gc``."""

import re
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal
from rich.markup import escape

from cli.console import console, err_console, make_table, show_progress_bars
from cli.options import Store
from cli.preflight import check_dataset_exists
from config.errors import InputError
from config.settings import get_settings, override_settings

if TYPE_CHECKING:
    from storage.gc_policy import GcCandidate, Inventory

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, it is listed.")] = False,
    keep_pairs: Annotated[
        int, typer.Option(help="Pair sets that stay besides those in use, to go back to.", min=0)
    ] = 1,
    keep_checkpoints: Annotated[
        int | None,
        typer.Option(
            help="Checkpoints of a run that stay, the last ones; what its recipe says when left "
            "out.",
            min=1,
        ),
    ] = None,
    keep_best: Annotated[
        int | None, typer.Option(help="And how many of the lowest val_l1; as above.", min=0)
    ] = None,
    older_than: Annotated[
        str, typer.Option(help="What is younger stays: 7d, 12h, 90m.", metavar="AGE")
    ] = "7d",
    dataset: Annotated[
        str | None, typer.Option(help="Of this data set only.", metavar="NAME")
    ] = None,
    store: Store = None,
) -> None:
    """List, and with --yes remove, pair sets and checkpoints that nothing needs."""
    override_settings(store=store)
    from storage import open_store
    from storage.gc import collect, scan
    from storage.gc_policy import GcPolicy, select_candidates
    from storage.pending_uploads import list_pending
    from tasks.progress import advance, progress_bar, complete_bar

    rules = GcPolicy(keep_pairs, keep_checkpoints, keep_best, _parse_age(older_than))
    object_store = open_store(get_settings().store)
    if dataset is not None:
        check_dataset_exists(object_store, dataset)
    with show_progress_bars(), progress_bar("look"):
        inventory = scan(object_store, dataset)
    planned = select_candidates(inventory, rules)
    if planned:
        _print_planned(planned, inventory)
    else:
        console.print(f"Nothing may go: all is needed, kept, or younger than {escape(older_than)}.")
    for pending in list_pending(object_store):
        if dataset not in (None, pending.dataset):
            continue
        console.print(
            f"{pending.dataset}: files of run {pending.run} ({decimal(pending.size)}) wait on "
            f"this machine, in {pending.folder}. If it is not in training now, the same `icanvas "
            f"train {pending.dataset}` pushes them; if nobody wants that run, remove the folder.",
            highlight=False,
            markup=False,
        )
    if not yes:
        if planned:
            total = decimal(sum(item.size for item in planned))
            console.print(f"\n[bold]{total}[/] may go; the same command with --yes removes it.")
        return
    objects = sum(len(item.keys) or 1 for item in planned)
    try:
        with show_progress_bars(), progress_bar("remove", objects, "objects"):
            removed = collect(object_store, rules, planned, dataset, lambda: advance("remove"))
            complete_bar("remove")
    except KeyboardInterrupt:
        err_console.print("[bold red]icanvas:[/] interrupted; the same command goes on from here.")
        raise
    removed_places = {item.path for item in removed}
    for item in planned:
        if item.path not in removed_places:
            console.print(
                f"{item.dataset}: {item.description} was left: it is needed by now, or gone."
            )
    if planned:
        console.print(f"\n[bold]{decimal(sum(item.size for item in removed))}[/] freed.")


def _parse_age(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})([dhms])|0", text.strip())
    if match is None:
        raise InputError(f"--older-than {text}: write a number and d, h, m or s, as in 7d or 12h.")
    return timedelta() if match[1] is None else timedelta(**{_UNITS[match[2]]: int(match[1])})


def _print_planned(planned: list["GcCandidate"], inventory: "Inventory") -> None:
    """Print a line for each pair set, and for a run's checkpoints that go for the same reason."""
    table = make_table("name", "what", "why it may go", "size", "age")

    def group_key(item: "GcCandidate") -> tuple[str, str, str]:
        return item.dataset, item.description, item.reason

    for (dataset, what, reason), group in groupby(sorted(planned, key=group_key), group_key):
        items = list(group)
        count = f"{len(items)} × " if len(items) > 1 else ""
        size = decimal(sum(item.size for item in items))
        age = inventory.now - max(item.modified for item in items)
        table.add_row(dataset, f"{count}{what}", reason, size, _format_age(age))
    console.print(table)


def _format_age(age: timedelta) -> str:
    for unit in ("days", "hours", "minutes"):
        count = int(age / timedelta(**{unit: 1}))
        if count:
            return f"{count} {unit if count > 1 else unit[:-1]}"
    return "now"
