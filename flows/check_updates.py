"""Every prepared data set whose source has changed, anew; on a schedule, mostly nothing."""

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.runtime import flow_run

import sources
from config.errors import IcanvasError
from config.settings import get_settings
from flows.parameters import Start, Why
from flows.prepare import prepare
from flows.run_names import run_name
from sources import Choices, Finding
from sources.status import State
from storage import ObjectStore, open_store
from storage.pair_sets import read_settings
from tasks.check_updates import check
from tasks.deployments import is_deployed


@flow(name="refresh-all", flow_run_name=run_name)
def refresh_all(start: Start = True, reason: Why = "") -> dict[str, Finding]:
    """Ask the sources of all prepared data sets for a new version; prepare those that have one.

    Each is prepared by a run of its own, with the edge settings that are in use. Data sets of
    which a part was chosen by hand, and newer versions that the catalogue does not name, are left
    to a person: the table says which.

    Parameters
    ----------
    start : prepare what is new.
    reason : for the run's name; nothing else.

    Returns
    -------
    dict
        What was found of each data set, by name.
    """
    store_url = get_settings().store
    store = open_store(store_url)
    catalogue = sources.load_catalogue()
    found: dict[str, Finding] = {}
    for state in sources.list_states(store):
        if state.dataset.name in catalogue and state.pairs is not None:
            finding = _check(state, store_url)
            if finding is not None:
                found[state.dataset.name] = finding
    started = {}
    for name, finding in found.items():
        if start and finding.state == "new":
            try:
                started[name] = _prepare(name, finding, store)
            except IcanvasError as error:
                # The others' turn comes all the same.
                started[name] = f"not started: {error}"
    create_table_artifact(
        key="refresh-all",
        description="What the sources of the prepared data sets say",
        table=[
            {"data set": name, "state": it.state, "why": it.what, "run": started.get(name, "")}
            for name, it in found.items()
        ],
    )
    return found


def _check(state: State, store_url: str) -> Finding | None:
    try:
        finding = check(state.dataset, store_url)
    except IcanvasError as error:
        return Finding("unknown", str(error))
    if finding is not None and finding.state == "new" and state.chosen_otherwise:
        return Finding("ask", f"{finding.what}; of the old one a part was chosen by hand")
    return finding


def _prepare(name: str, finding: Finding, store: ObjectStore) -> str:
    """Start a run that makes pairs of what is new; return what it is found by."""
    choices, why = _choices_in_use(store, name), finding.what[:80]
    if not is_deployed():
        prepare(name, choices, newest=True, reason=why)
        return f"prepare {name}"
    run = run_deployment(
        "prepare/prepare",
        parameters={
            "source": name,
            "choices": choices.model_dump(exclude_defaults=True),
            "newest": True,
            "reason": why,
        },
        timeout=0,
        as_subflow=False,
        # A retry of this run starts nothing twice.
        idempotency_key=f"{name} for {flow_run.id}",
    )
    assert isinstance(run, FlowRun), "it is no coroutine outside of one"
    return f"prepare {name}: {why} ({run.id})"


def _choices_in_use(store: ObjectStore, name: str) -> Choices:
    """Return what makes a pair set of other pictures as the one in use was made."""
    current = sources.find_prepared(store, name)[1]
    assert current is not None, "a prepared data set has a pair set in use"
    settings = read_settings(store, name, current.fingerprint)
    return Choices(
        **settings["edges"],
        fit=settings["geometry"]["mode"],
        re_extract=bool(settings.get("re_extract")),
    )
