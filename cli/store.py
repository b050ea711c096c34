"""``icanvas export``, ``use`` and ``gc``: what the store holds, which of it counts, what may go."""

import re
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.filesize import decimal
from rich.markup import escape

from cli.console import err, make_table, out, print_places, show_progress_bars
from cli.options import Cache, Name, Store
from cli.preflight import local_folder
from config.errors import InputError, SourceError
from config.settings import get_settings, override_settings

if TYPE_CHECKING:
    from storage import ObjectStore
    from storage.gc_policy import Inventory, Removable

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


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
    from sources import find_prepared, state_licence
    from storage import keys, open_store
    from storage.raw_sets import read_origin
    from tasks.export import export_pairs

    place = local_folder(folder)
    opened = open_store(get_settings().store)
    dataset, current = find_prepared(opened, source, name)
    if pairs is None:
        if current is None:
            raise SourceError(f"{dataset.name} has no pairs. Run `icanvas prepare {source}`.")
        pairs = current.fingerprint
    try:
        with show_progress_bars():
            made = export_pairs(opened, dataset, pairs, place, form)
    except KeyboardInterrupt:
        err.print("[bold red]icanvas:[/] interrupted; nothing of the export was left.")
        raise
    out.print(
        f"[bold]{dataset.name}[/]: {made.train:,} training and {made.val:,} validation pairs "
        f"of pair set {pairs}"
    )
    origin = read_origin(opened, keys.newest_origin(dataset.name))
    places = {"export": str(made.folder), "licence": state_licence(dataset, origin)}
    print_places(places.items())


def use(
    dataset: Annotated[str, typer.Argument(help="A data set's name.", metavar="DATASET")],
    fingerprint: Annotated[
        str | None,
        typer.Argument(help="The pair set to use; all are listed without.", metavar="FINGERPRINT"),
    ] = None,
    store: Store = None,
) -> None:
    """List a data set's pair sets, or put another one into use; nothing is made or removed."""
    override_settings(store=store)
    from storage import open_store
    from storage.choosing import list_published, use_pairs

    opened = open_store(get_settings().store)
    _check_there(opened, dataset)
    if fingerprint is not None:
        chosen = use_pairs(opened, dataset, fingerprint)
        out.print(
            f"[bold]{dataset}[/]: pair set {chosen.fingerprint} is in use, {chosen.train:,} "
            f"training and {chosen.val:,} validation pairs"
        )
        return
    table = make_table("", "what", "threshold", "pixels", "border", "raw", "made")
    for pairs in list_published(opened, dataset):
        edges = pairs.settings.get("edges", {})
        figures = (str(edges.get(name, "–")) for name in ("threshold", "min_pixels", "border"))
        mark, made = "[green]✓[/]" if pairs.in_use else "", f"{pairs.modified:%Y-%m-%d %H:%M}"
        table.add_row(mark, pairs.fingerprint, *figures, str(pairs.settings.get("raw")), made)
    out.print(table)
    out.print(f"\nTo use another: icanvas use {dataset} FINGERPRINT")


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
    from storage.gc import sweep, take_inventory
    from storage.gc_policy import Rules, plan_removal
    from storage.pending_uploads import list_waiting
    from tasks.progress import advance, bar, settle

    rules = Rules(keep_pairs, keep_checkpoints, keep_best, _parse_age(older_than))
    opened = open_store(get_settings().store)
    if dataset is not None:
        _check_there(opened, dataset)
    with show_progress_bars(), bar("look"):
        inventory = take_inventory(opened, dataset)
    planned = plan_removal(inventory, rules)
    if planned:
        _print_planned(planned, inventory)
    else:
        out.print(f"Nothing may go: all is needed, kept, or younger than {escape(older_than)}.")
    for left in list_waiting(opened):
        if dataset not in (None, left.dataset):
            continue
        out.print(
            f"{left.dataset}: files of run {left.run} ({decimal(left.size)}) wait on "
            f"this machine, in {left.folder}. If it is not in training now, the same `icanvas "
            f"train {left.dataset}` pushes them; if nobody wants that run, remove the folder.",
            highlight=False,
            markup=False,
        )
    if not yes:
        if planned:
            total = decimal(sum(item.size for item in planned))
            out.print(f"\n[bold]{total}[/] may go; the same command with --yes removes it.")
        return
    objects = sum(len(item.keys) or 1 for item in planned)
    try:
        with show_progress_bars(), bar("remove", objects, "objects"):
            removed = sweep(opened, rules, planned, dataset, lambda: advance("remove"))
            settle("remove")
    except KeyboardInterrupt:
        err.print("[bold red]icanvas:[/] interrupted; the same command goes on from here.")
        raise
    gone = {item.place for item in removed}
    for item in planned:
        if item.place not in gone:
            out.print(f"{item.dataset}: {item.what} was left: it is needed by now, or gone.")
    if planned:
        out.print(f"\n[bold]{decimal(sum(item.size for item in removed))}[/] freed.")


def _parse_age(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([dhms])|0", text.strip())
    if found is None:
        raise InputError(f"--older-than {text}: write a number and d, h, m or s, as in 7d or 12h.")
    return timedelta() if found[1] is None else timedelta(**{_UNITS[found[2]]: int(found[1])})


def _check_there(store: "ObjectStore", dataset: str) -> None:
    from config.dataset import NAME

    folders = [f"{root}/{dataset}" for root in ("datasets", "models")]
    if not re.fullmatch(NAME, dataset) or not any(
        True for folder in folders for _ in store.list(folder)
    ):
        raise SourceError(
            f"{dataset}: {store.url} holds nothing of that name. `icanvas datasets` "
            "lists what there is."
        )


def _print_planned(planned: list["Removable"], inventory: "Inventory") -> None:
    """Print a line for each pair set, and for a run's checkpoints that go for the same reason."""
    table = make_table("name", "what", "why it may go", "size", "age")

    def by_line(item: "Removable") -> tuple[str, str, str]:
        return item.dataset, item.what, item.reason

    for (dataset, what, reason), group in groupby(sorted(planned, key=by_line), by_line):
        items = list(group)
        count = f"{len(items)} × " if len(items) > 1 else ""
        size = decimal(sum(item.size for item in items))
        age = inventory.now - max(item.modified for item in items)
        table.add_row(dataset, f"{count}{what}", reason, size, _show_age(age))
    out.print(table)


def _show_age(age: timedelta) -> str:
    for unit in ("days", "hours", "minutes"):
        count = int(age / timedelta(**{unit: 1}))
        if count:
            return f"{count} {unit if count > 1 else unit[:-1]}"
    return "now"
