"""``icanvas prepare``."""

from typing import Annotated

import typer
from rich.markup import escape

from cli.console import console, err_console, fetch_weights, prefect_session, print_locations
from cli.options import (
    AcceptLicense,
    AllowHttp,
    AllowPartial,
    ArchivePath,
    Cache,
    Engine,
    Everything,
    FitOption,
    Limit,
    Name,
    Paired,
    ReExtract,
    Runner,
    Store,
    Tables,
    Threshold,
    Update,
    Verbose,
    WeightsFile,
    Where,
    Workers,
)
from cli.preflight import check_hed_settings, make_absolute
from config.errors import InputError, SourceError
from config.settings import get_settings, override_settings

# Prefect takes seconds to import, so each command imports flows inside its function.


def prepare(
    source: Annotated[str, typer.Argument(help="A data set's name, a folder or an archive.")],
    name: Name = None,
    paired: Paired = False,
    re_extract: ReExtract = False,
    fit: FitOption = None,
    threshold: Threshold = None,
    archive: ArchivePath = None,
    everything: Everything = False,
    where: Where = None,
    tables: Tables = None,
    accept_license: AcceptLicense = False,
    allow_partial: AllowPartial = False,
    allow_http: AllowHttp = False,
    limit: Limit = None,
    update: Update = False,
    force: Annotated[
        bool, typer.Option("--force", help="Extract everything again, beside the old pair set.")
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
    from sources import (
        check_license,
        check_local_inputs,
        find_dataset,
        format_license_terms,
        make_options,
        read_current_pairs,
    )
    from storage import keys, open_store
    from storage.raw_sets import read_origin

    # Errors in the arguments are found before Prefect is started.
    options = make_options(
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
    dataset = find_dataset(source, options)
    object_store = open_store(get_settings().store)
    check_local_inputs(dataset, object_store)
    check_license(dataset, object_store, accept_license)
    read_current_pairs(object_store, dataset)
    if dataset.needs_edges:
        check_hed_settings(dataset.edges.threshold)
    with prefect_session(verbose):
        if dataset.needs_edges:
            fetch_weights()
        from flows.prepare import prepare as flow

        pair_set = flow(
            make_absolute(source), options, force, accept_license, allow_partial, update
        )
    rejected = sum(pair_set.rejected.values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in pair_set.rejected.items())
    console.print(
        f"[bold]{pair_set.dataset}[/]: {pair_set.train:,} training and {pair_set.val:,} validation "
        f"pairs, {rejected:,} rejected{f' ({reasons})' if reasons else ''}"
    )
    locations = {
        "pairs": pair_set.folder,
        "contact sheet": pair_set.contact_sheet or "none",
        "report": pair_set.report,
    }
    if pair_set.diff is not None:
        locations["comparison"] = pair_set.diff
    if not isinstance(dataset.source, LocalSource):
        origin = read_origin(object_store, keys.latest_origin(dataset.name))
        locations["license"] = format_license_terms(dataset, origin)
    print_locations(locations.items())
    for hint in pair_set.warnings:
        err_console.print(f"[yellow]hint:[/] {escape(hint)}")
    if not pair_set.train + pair_set.val:
        raise SourceError(f"No file of {source} became a pair. The report lists the reasons.")


def _parse_where(conditions: list[str]) -> dict[str, tuple[str, ...]]:
    where: dict[str, tuple[str, ...]] = {}
    for condition in conditions:
        column, equals, value = condition.partition("=")
        if not equals or not value:
            raise InputError(f"--where {condition}: write COLUMN=VALUE, as in --where quality=P.")
        where[column] = (*where.get(column, ()), value)
    return where
