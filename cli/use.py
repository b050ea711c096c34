"""``icanvas use``."""

from typing import Annotated

import typer

from cli.console import console, make_table
from cli.options import Store
from cli.preflight import check_dataset_exists
from config.settings import get_settings, override_settings


def use(
    dataset: Annotated[str, typer.Argument(help="Name of a data set.", metavar="DATASET")],
    fingerprint: Annotated[
        str | None,
        typer.Argument(help="Pair set to use; without it all are listed.", metavar="FINGERPRINT"),
    ] = None,
    store: Store = None,
) -> None:
    """List a data set's pair sets, or switch to another one. No pair set is created or deleted."""
    override_settings(store=store)
    from storage import open_store
    from storage.pair_sets import list_pair_sets, use_pair_set

    object_store = open_store(get_settings().store)
    check_dataset_exists(object_store, dataset)
    if fingerprint is not None:
        current = use_pair_set(object_store, dataset, fingerprint)
        console.print(
            f"[bold]{dataset}[/]: pair set {current.fingerprint} is now in use, {current.train:,} "
            f"training and {current.val:,} validation pairs"
        )
        return
    table = make_table("", "pair set", "threshold", "min pixels", "border", "raw set", "created")
    for pairs in list_pair_sets(object_store, dataset):
        edges = pairs.settings.get("edges", {})
        edge_values = (str(edges.get(name, "–")) for name in ("threshold", "min_pixels", "border"))
        mark, created = "[green]✓[/]" if pairs.in_use else "", f"{pairs.modified:%Y-%m-%d %H:%M}"
        table.add_row(
            mark, pairs.fingerprint, *edge_values, str(pairs.settings.get("raw")), created
        )
    console.print(table)
    console.print(f"\nTo switch: icanvas use {dataset} FINGERPRINT")
