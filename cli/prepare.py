"""``icanvas prepare``."""

from typing import Annotated

import typer
from rich.markup import escape

from cli.console import err, fetch_weights, out, print_places, run_prefect
from cli.options import (
    AcceptLicense,
    AllowHttp,
    AllowPartial,
    Archive,
    Cache,
    Engine,
    Everything,
    Fit,
    Limit,
    Name,
    Newest,
    Paired,
    ReExtract,
    Runner,
    Store,
    Tables,
    Threshold,
    Verbose,
    WeightsFile,
    Where,
    Workers,
)
from cli.preflight import absolute, check_hed
from config.errors import InputError, SourceError
from config.settings import get_settings, override_settings

# Flows, and Prefect with them, take seconds to import: each command imports what it calls.


def prepare(
    source: Annotated[str, typer.Argument(help="A data set's name, a folder or an archive.")],
    name: Name = None,
    paired: Paired = False,
    re_extract: ReExtract = False,
    fit: Fit = None,
    threshold: Threshold = None,
    archive: Archive = None,
    everything: Everything = False,
    where: Where = None,
    tables: Tables = None,
    accept_license: AcceptLicense = False,
    allow_partial: AllowPartial = False,
    allow_http: AllowHttp = False,
    limit: Limit = None,
    newest: Newest = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Extract everything again, beside the old.")
    ] = False,
    store: Store = None,
    cache: Cache = None,
    engine: Engine = None,
    weights: WeightsFile = None,
    workers: Workers = None,
    runner: Runner = None,
    verbose: Verbose = False,
) -> None:
    """Make training pairs (line drawing | picture) from a data set, a folder or an archive."""
    override_settings(
        store=store,
        cache=cache,
        engine=engine,
        weights=weights,
        workers=workers,
        runner=runner,
        allow_http=allow_http or None,
    )
    from config.dataset import LocalSource
    from sources import check_licence, check_own, find, make_choices, read_current_of, state_licence
    from storage import keys, open_store
    from storage.raw_sets import read_origin

    # A user's slip is met before Prefect is started.
    choices = make_choices(
        name=name,
        paired=paired,
        re_extract=re_extract,
        fit=fit,
        threshold=threshold,
        archive=archive,
        tables=tables,
        everything=everything,
        limit=limit,
        where=_parse_where(where or []),
    )
    dataset = find(source, choices)
    opened = open_store(get_settings().store)
    check_own(dataset, opened)
    check_licence(dataset, opened, accept_license)
    read_current_of(opened, dataset)
    if dataset.needs_edges:
        check_hed(dataset.edges.threshold)
    with run_prefect(verbose):
        if dataset.needs_edges:
            fetch_weights()
        from flows.prepare import prepare as flow

        made = flow(absolute(source), choices, refresh, accept_license, allow_partial, newest)
    rejected = sum(made.rejected.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in made.rejected.items())
    out.print(
        f"[bold]{made.dataset}[/]: {made.train:,} training and {made.val:,} validation pairs, "
        f"{rejected:,} rejected{f' ({reasons})' if reasons else ''}"
    )
    places = {"pairs": made.folder, "contact sheet": made.sheet or "none", "report": made.report}
    if made.comparison is not None:
        places["against the old"] = made.comparison
    if not isinstance(dataset.source, LocalSource):
        origin = read_origin(opened, keys.newest_origin(dataset.name))
        places["licence"] = state_licence(dataset, origin)
    print_places(places.items())
    for hint in made.hints:
        err.print(f"[yellow]hint:[/] {escape(hint)}")
    if not made.train + made.val:
        raise SourceError(f"No file of {source} became a pair; the report says why.")


def _parse_where(changes: list[str]) -> dict[str, tuple[str, ...]]:
    where: dict[str, tuple[str, ...]] = {}
    for change in changes:
        column, equals, value = change.partition("=")
        if not equals or not value:
            raise InputError(f"--where {change}: write COLUMN=VALUE, as in --where quality=P.")
        where[column] = (*where.get(column, ()), value)
    return where
