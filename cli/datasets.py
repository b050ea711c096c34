"""``icanvas datasets``: list the data sets and their states, or describe one."""

from typing import Annotated

import typer
from rich.markup import escape

from cli.console import console, make_table, print_locations
from cli.options import Store
from config.settings import get_settings, override_settings

datasets_app = typer.Typer(rich_markup_mode="rich")


@datasets_app.callback(invoke_without_command=True, epilog="Example: icanvas datasets")
def datasets(context: typer.Context, store: Store = None) -> None:
    """List the data sets, their states and the next command of each."""
    override_settings(store=store)
    if context.invoked_subcommand is not None:
        return
    from sources.status import format_download, format_license, format_num_pictures, list_statuses
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
        # `show` prints it, too.
        del columns["pictures"]
    table = make_table(*columns)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    console.print(table)
    if any(state.needs_acceptance for state in states):
        console.print(
            "\n* The license must be accepted once: icanvas prepare NAME --accept-license"
        )
    console.print("\nDetails: icanvas datasets show NAME")
    console.print("Any folder, zip or tar works, too: icanvas prepare ~/photos")


@datasets_app.command("show", epilog="Example: icanvas datasets show car")
def show_dataset(
    name: Annotated[str, typer.Argument(help="Name of a data set.")], store: Store = None
) -> None:
    """Describe one data set: source, license, selection, recipe and state."""
    override_settings(store=store)
    from sources import describe_status, find_prepared_dataset, get_status
    from storage import open_store

    opened = open_store(get_settings().store)
    dataset, _ = find_prepared_dataset(opened, name)
    print_locations(describe_status(get_status(opened, dataset)))
