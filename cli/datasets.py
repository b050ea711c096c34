"""``icanvas datasets``: what there is, how far each is, and all about one."""

from typing import Annotated

import typer
from rich.markup import escape

from cli.console import make_table, out, print_places
from cli.options import Store
from config.settings import get_settings, override_settings

listing = typer.Typer(rich_markup_mode="rich")


@listing.callback(invoke_without_command=True, epilog="Example: icanvas datasets")
def datasets(context: typer.Context, store: Store = None) -> None:
    """List the data sets, how far each one is, and what to run next."""
    override_settings(store=store)
    if context.invoked_subcommand is not None:
        return
    from sources.status import list_states, show_download, show_licence, show_pictures
    from storage import open_store

    states = list_states(open_store(get_settings().store))
    columns: dict[str, list[str]] = {
        "name": [state.dataset.name + ("*" if state.asks else "") for state in states],
        "pictures": [show_pictures(state) for state in states],
        "size": [show_download(state) for state in states],
        "licence": [escape(show_licence(state)) for state in states],
        "state": [state.stage for state in states],
        "next": [state.next for state in states],
    }
    widths = [max(map(len, (heading, *columns[heading]))) for heading in columns]
    if sum(widths) + len(widths) - 1 > out.width:
        # What one can do without; `show` tells it.
        del columns["pictures"]
    table = make_table(*columns)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    out.print(table)
    if any(state.asks for state in states):
        out.print("\n* whose licence is to be accepted once: icanvas prepare NAME --accept-license")
    out.print("\nMore of one: icanvas datasets show NAME")
    out.print("Any folder, zip or tar works too: icanvas prepare ~/photos")


@listing.command(epilog="Example: icanvas datasets show car")
def show(
    name: Annotated[str, typer.Argument(help="A data set of the list.")], store: Store = None
) -> None:
    """Show what there is to know of one data set."""
    override_settings(store=store)
    from sources import describe, find_prepared, find_state
    from storage import open_store

    opened = open_store(get_settings().store)
    dataset, _ = find_prepared(opened, name)
    print_places(describe(find_state(opened, dataset)))
