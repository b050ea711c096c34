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
    yes: Annotated[
        bool, typer.Option("--yes", help="Delete; without it candidates are only listed.")
    ] = False,
    keep_pairs: Annotated[
        int, typer.Option(help="Pair sets to keep besides those in use.", min=0)
    ] = 1,
    keep_checkpoints: Annotated[
        int | None,
        typer.Option(
            help="Last checkpoints of each run to keep; by default its recipe's keep_last.",
            min=1,
        ),
    ] = None,
    keep_best: Annotated[
        int | None,
        typer.Option(
            help="Checkpoints with the lowest val_l1 to keep; by default keep_best.", min=0
        ),
    ] = None,
    older_than: Annotated[
        str, typer.Option(help="Keep everything younger than this: 7d, 12h, 90m.", metavar="AGE")
    ] = "7d",
    dataset: Annotated[str | None, typer.Option(help="Only this data set.", metavar="NAME")] = None,
    store: Store = None,
) -> None:
    """List pair sets and checkpoints that nothing refers to; with --yes delete them."""
    override_settings(store=store)
    from storage import open_store
    from storage.gc import collect, scan
    from storage.gc_policy import GcPolicy, select_candidates
    from storage.pending_uploads import list_pending
    from tasks.progress import advance, complete_bar, progress_bar

    policy = GcPolicy(keep_pairs, keep_checkpoints, keep_best, _parse_age(older_than))
    object_store = open_store(get_settings().store)
    if dataset is not None:
        check_dataset_exists(object_store, dataset)
    with show_progress_bars(), progress_bar("scan store"):
        inventory = scan(object_store, dataset)
    candidates = select_candidates(inventory, policy)
    if candidates:
        _print_candidates(candidates, inventory)
    else:
        console.print(
            "Nothing to delete: every object is in use, retained, or younger than "
            f"{escape(older_than)}."
        )
    for pending in list_pending(object_store):
        if dataset not in (None, pending.dataset):
            continue
        console.print(
            f"{pending.dataset}: files of run {pending.run} ({decimal(pending.size)}) are pending "
            f"on this machine, in {pending.folder}. If the run is not in progress, run the same "
            f"`icanvas train {pending.dataset}` again to upload them, or delete the folder to "
            "discard them.",
            highlight=False,
            markup=False,
        )
    if not yes:
        if candidates:
            total = decimal(sum(item.size for item in candidates))
            console.print(f"\n[bold]{total}[/] can be deleted; run the same command with --yes.")
        return
    objects = sum(len(item.keys) or 1 for item in candidates)
    try:
        with show_progress_bars(), progress_bar("delete", objects, "objects"):
            deleted = collect(object_store, policy, candidates, dataset, lambda: advance("delete"))
            complete_bar("delete")
    except KeyboardInterrupt:
        err_console.print(
            "[bold red]icanvas:[/] interrupted; run the same command again to continue."
        )
        raise
    deleted_paths = {item.path for item in deleted}
    for item in candidates:
        if item.path not in deleted_paths:
            console.print(
                f"{item.dataset}: {item.description} was kept: it is in use by now, or "
                "already deleted."
            )
    if candidates:
        console.print(f"\n[bold]{decimal(sum(item.size for item in deleted))}[/] freed.")


def _parse_age(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})([dhms])|0", text.strip())
    if match is None:
        raise InputError(f"--older-than {text}: write a number and d, h, m or s, as in 7d or 12h.")
    return timedelta() if match[1] is None else timedelta(**{_UNITS[match[2]]: int(match[1])})


def _print_candidates(candidates: list["GcCandidate"], inventory: "Inventory") -> None:
    """Print a row for each pair set, and one for the checkpoints of a run with the same reason."""
    table = make_table("name", "object", "reason", "size", "age")

    def group_key(item: "GcCandidate") -> tuple[str, str, str]:
        return item.dataset, item.description, item.reason

    for (dataset, what, reason), group in groupby(sorted(candidates, key=group_key), group_key):
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
