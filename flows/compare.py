"""Every kept checkpoint of a data set, side by side; a person may choose on the spot."""

from prefect import flow
from prefect.logging import get_run_logger

import sources
from config.errors import InputError
from config.settings import get_settings, override_settings
from flows.locks import one_at_a_time
from flows.operator_prompt import ask_choice
from flows.parameters import (
    DEFAULT,
    DataSetName,
    Decide,
    Drawings,
    Engine,
    Judged,
    OwnName,
    Runs,
    Why,
)
from flows.run_names import run_name
from model.evaluation.candidates import find_candidates
from reports.comparison_table import as_markdown
from storage import open_store
from tasks.artifacts import link
from tasks.compare import Compared
from tasks.compare import compare as compare_on
from tasks.interrupts import heed_termination
from tasks.promote import promote


@flow(name="compare", flow_run_name=run_name)
def compare(
    source: DataSetName,
    runs: Runs = (),
    sketches: Drawings = "",
    pictures: Judged = 32,
    decide: Decide = False,
    name: OwnName = "",
    engine: Engine = DEFAULT,
    reason: Why = "",
) -> Compared:
    """Judge every kept checkpoint of a data set on validation pairs and on drawings by hand.

    Parameters
    ----------
    source : a data set of the catalogue, the path of a folder or archive, or its name if prepared.
    runs : of these runs alone, and the checkpoint in production; of all when empty.
    sketches : a folder or archive of drawings by hand, or the name of a prepared set of them, in
        place of the data set's own.
    pictures : validation pairs and drawings by hand at most, taken evenly.
    decide : pause until a person has chosen a checkpoint, and promote it.
    name : what a folder or archive was called when it was prepared.
    engine : what runs HED, in place of the setting.
    reason : for the run's name, and with decide for the promotion's note.

    Raises
    ------
    InputError
        If nothing was prepared, or there is nothing to compare on.
    SourceError
        If there is no checkpoint, or the drawings cannot be read.
    """
    override_settings(engine=None if engine == DEFAULT else engine)
    store_url = get_settings().store
    store = open_store(store_url)
    dataset, current = sources.find_prepared(store, source, name or None)
    candidates = find_candidates(store, dataset.name, runs)
    if current is None:
        raise InputError(f"{dataset.name} has no pairs. Run `icanvas prepare {source}`.")
    drawn = sources.find_sketches(store, dataset, sketches, pictures)
    with heed_termination():
        found = compare_on(dataset, current.fingerprint, store_url, candidates, drawn, pictures)
    page = link(store, f"{found.folder}/vote.html")
    get_run_logger().info("%s: vote on %s", dataset.name, page)
    if decide:
        offered = [column.name for column in reversed(found.comparison.columns)]
        about = f"{as_markdown(found.comparison)}\n\nVote first, on {page}."
        chosen = ask_choice("Which checkpoint goes into service?", offered, about)
        if chosen is None:
            get_run_logger().info("%s: none was chosen, and nothing is changed", dataset.name)
        else:
            with one_at_a_time("promote", dataset.name):
                promote(dataset.name, dataset.title, chosen, store_url, note=reason)
    return found
