"""The flow that compares the checkpoints of a data set, and can ask an operator to choose one."""

from prefect import flow
from prefect.logging import get_run_logger

import sources
from config.errors import InputError
from config.settings import get_settings, override_settings
from flows.locks import dataset_lock
from flows.operator_prompt import prompt_operator
from flows.parameters import (
    DEFAULT,
    DatasetName,
    Decide,
    EngineName,
    LocalName,
    MaxSamples,
    Reason,
    Runs,
    Sketches,
)
from flows.run_names import format_run_name
from model.evaluation.candidates import list_candidates
from reports.comparison_table import comparison_to_markdown
from storage import open_store
from tasks.artifacts import render_link
from tasks.compare import StoredComparison
from tasks.compare import compare as compare_task
from tasks.interrupts import handle_sigterm
from tasks.promote import promote as promote_task


@flow(name="compare", flow_run_name=format_run_name)
def compare(
    source: DatasetName,
    runs: Runs = (),
    sketches: Sketches = "",
    pictures: MaxSamples = 32,
    decide: Decide = False,
    name: LocalName = "",
    engine: EngineName = DEFAULT,
    reason: Reason = "",
) -> StoredComparison:
    """Compare the checkpoints of a data set on validation pairs and on hand-drawn sketches.

    Parameters
    ----------
    source : str
        Name of a data set of the catalogue, path of a folder or archive, or its name if prepared.
    runs : tuple of str
        Compare only checkpoints of these runs, and the promoted one; all runs if empty.
    sketches : str
        Folder or archive of hand-drawn sketches, or name of a prepared set of them; the sketches of
        the data set if empty.
    pictures : int
        Maximum number of validation pairs, and of sketches, in [1, 1000]; evenly spaced.
    decide : bool
        Pause until an operator has chosen a checkpoint, and promote it.
    name : str
        Name under which a folder or archive was prepared.
    engine : str
        HED engine; ``default`` for that of the settings.
    reason : str
        Shown in the name of the flow run. With `decide` also the note of the promotion.

    Returns
    -------
    StoredComparison

    Raises
    ------
    InputError
        If the data set has no pairs, or there is nothing to compare on.
    SourceError
        If there is no checkpoint, or the sketches cannot be read.
    """
    override_settings(engine=None if engine == DEFAULT else engine)
    store_url = get_settings().store
    store = open_store(store_url)
    dataset, current = sources.find_prepared_dataset(store, source, name or None)
    candidates = list_candidates(store, dataset.name, runs)
    if current is None:
        raise InputError(f"{dataset.name} has no pairs. Run `icanvas prepare {source}`.")
    sketch_files = sources.load_sketches(store, dataset, sketches, pictures)
    with handle_sigterm():
        stored = compare_task(
            dataset, current.fingerprint, store_url, candidates, sketch_files, pictures
        )
    vote_page = render_link(store, f"{stored.folder}/vote.html")
    get_run_logger().info("%s: vote page: %s", dataset.name, vote_page)
    if decide:
        options = [column.name for column in reversed(stored.comparison.results)]
        description = f"{comparison_to_markdown(stored.comparison)}\n\nVote first: {vote_page}"
        selected = prompt_operator("Which checkpoint goes into service?", options, description)
        if selected is None:
            get_run_logger().info("%s: no checkpoint was chosen; nothing changes", dataset.name)
        else:
            with dataset_lock("promote", dataset.name):
                promote_task(dataset.name, dataset.title, selected, store_url, note=reason)
    return stored
