"""``icanvas datasets``: what there is, how far each is, and all about one."""

from typing import Annotated

import typer
from rich.markup import escape

from cli.console import console, make_table, print_locations
from cli.options import Store
from config.settings import get_settings, override_settings

datasets_app = typer.Typer(rich_markup_mode="rich")


@datasets_app.callback(invoke_without_command=True, epilog="Example: icanvas datasets")
def datasets(context: typer.Context, store: Store = None) -> None:
    """List the data sets, how far each one is, and what to run next."""
    override_settings(store=store)
    if context.invoked_subcommand is not None:
        return
    from sources.status import list_statuses, format_download, format_license, format_num_pictures
    from storage import open_store

    states = list_statuses(open_store(get_settings().store))
    columns: dict[str, list[str]] = {
        "name": [state.dataset.name + ("*" if state.needs_acceptance else "") for state in states],
        "pictures": [format_num_pictures(state) for state in states],
        "size": [format_download(state) for state in states],
        "license": [escape(format_license(state)) for state in states],
        "state": [state.stage for state in states],
        "next": [state.next_command for state in states],
    }
    widths = [max(map(len, (heading, *columns[heading]))) for heading in columns]
    if sum(widths) + len(widths) - 1 > console.width:
        # What one can do without; `show` tells it.
        del columns["pictures"]
    table = make_table(*columns)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    console.print(table)
    if any(state.needs_acceptance for state in states):
        console.print(
            "\n* whose licence is to be accepted once: icanvas prepare NAME --accept-license"
        )
    console.print("\nMore of one: icanvas datasets show NAME")
    console.print("Any folder, zip or tar works too: icanvas prepare ~/photos")


@datasets_app.command("show", epilog="Example: icanvas datasets show car")
def show_dataset(
    name: Annotated[str, typer.Argument(help="A data set of the list.")], store: Store = None
) -> None:
    """Show what there is to know of one data set."""
    override_settings(store=store)
    from sources import describe_status, find_prepared_dataset, get_status
    from storage import open_store

    opened = open_store(get_settings().store)
    dataset, _ = find_prepared_dataset(opened, name)
    print_locations(describe_status(get_status(opened, dataset)))
