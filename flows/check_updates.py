"""The flow that prepares data sets whose sources have changed; runs on a schedule."""

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.runtime import flow_run

import sources
from config.errors import IcanvasError
from config.settings import get_settings
from flows.parameters import AutoStart, Reason
from flows.prepare import prepare
from flows.run_names import format_run_name
from sources import PrepareOptions, UpdateStatus
from sources.status import DatasetStatus
from storage import ObjectStore, open_store
from storage.pair_sets import read_settings
from tasks.check_updates import check_update
from tasks.deployments import is_deployed


@flow(name="check-updates", flow_run_name=format_run_name)
def check_updates(auto_start: AutoStart = True, reason: Reason = "") -> dict[str, UpdateStatus]:
    """Check the sources of all prepared data sets for new versions, and prepare those.

    Each data set is prepared by a flow run of its own, with its current edge settings. Data sets
    whose current selection differs from the catalogue, and versions that the catalogue does not
    name, are left to an operator. A table artifact lists all results.

    Parameters
    ----------
    auto_start : bool
        Prepare data sets that have a new version.
    reason : str
        Shown in the name of the flow run.

    Returns
    -------
    dict of str to UpdateStatus
        Result of each check, by name of the data set.
    """
    store_url = get_settings().store
    store = open_store(store_url)
    catalogue = sources.load_catalogue()
    statuses: dict[str, UpdateStatus] = {}
    for state in sources.list_statuses(store):
        if state.dataset.name in catalogue and state.pairs is not None:
            status = _check(state, store_url)
            if status is not None:
                statuses[state.dataset.name] = status
    started = {}
    for name, status in statuses.items():
        if auto_start and status.state == "new":
            try:
                started[name] = _start_prepare(name, status, store)
            except IcanvasError as error:
                # The other data sets are still prepared.
                started[name] = f"not started: {error}"
    create_table_artifact(
        key="check-updates",
        description="Updates of the sources of all prepared data sets",
        table=[
            {"data set": name, "state": it.state, "why": it.message, "run": started.get(name, "")}
            for name, it in statuses.items()
        ],
    )
    return statuses


def _check(state: DatasetStatus, store_url: str) -> UpdateStatus | None:
    try:
        status = check_update(state.dataset, store_url)
    except IcanvasError as error:
        return UpdateStatus("unknown", str(error))
    if status is not None and status.state == "new" and state.has_own_selection:
        return UpdateStatus(
            "ask", f"{status.message}; the current selection differs from the catalogue"
        )
    return status


def _start_prepare(name: str, status: UpdateStatus, store: ObjectStore) -> str:
    """Start a flow run that prepares a data set; return its description for the table."""
    options, reason = _get_current_options(store, name), status.message[:80]
    if not is_deployed():
        prepare(name, options, update=True, reason=reason)
        return f"prepare {name}"
    run = run_deployment(
        "prepare/prepare",
        parameters={
            "source": name,
            "options": options.model_dump(exclude_defaults=True),
            "update": True,
            "reason": reason,
        },
        timeout=0,
        as_subflow=False,
        # A retry of this run must not start the same flow run again.
        idempotency_key=f"{name} for {flow_run.id}",
    )
    assert isinstance(run, FlowRun), "outside of a coroutine the call is synchronous"
    return f"prepare {name}: {reason} ({run.id})"


def _get_current_options(store: ObjectStore, name: str) -> PrepareOptions:
    """Return the options with which the current pair set was made, without its selection."""
    current = sources.find_prepared_dataset(store, name)[1]
    assert current is not None, "a prepared data set has a current pair set"
    settings = read_settings(store, name, current.fingerprint)
    return PrepareOptions(
        **settings["edges"],
        fit=settings["geometry"]["mode"],
        re_extract=bool(settings.get("re_extract")),
    )
