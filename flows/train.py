"""The flow that trains a generator on a published pair set."""

from prefect import flow

import sources
from config.recipe import make_recipe
from config.settings import get_settings
from flows.locks import dataset_lock
from flows.parameters import DatasetName, Force, LocalName, Reason, RecipeChanges
from flows.prepare import prepare
from flows.run_names import format_run_name
from model.training.train import TrainedRun
from storage import open_store
from tasks.train import train as train_task

_NO_CHANGES: dict[str, bool | int | float | str] = {}


@flow(name="train", flow_run_name=format_run_name)
def train(
    source: DatasetName,
    recipe: RecipeChanges = _NO_CHANGES,
    name: LocalName = "",
    force: Force = False,
    reason: Reason = "",
) -> TrainedRun:
    """Train a generator on the current pairs of a data set; prepare them first if there are none.

    A finished run is not repeated. An interrupted one resumes from its last checkpoint.

    Parameters
    ----------
    source : str
        Name of a data set of the catalogue, path of a folder or archive, or its name if prepared.
    recipe : dict
        Changes to the recipe of the data set, by field.
    name : str
        Name under which a folder or archive was prepared.
    force : bool
        Start a new run even if one with this recipe is finished.
    reason : str
        Shown in the name of the flow run.

    Returns
    -------
    TrainedRun
    """
    store_url = get_settings().store
    store = open_store(store_url)
    dataset, _ = sources.find_prepared_dataset(store, source, name or None)
    sketches = list(sources.read_sketches(dataset).values())
    full_recipe = make_recipe(dataset.recipe.model_dump(exclude_unset=True), recipe or {})
    with dataset_lock("train", dataset.name):
        # Read after the lock is held: another run may have changed the current pairs.
        _, current = sources.find_prepared_dataset(store, source, name or None)
        pairs = (current or prepare(source, sources.PrepareOptions(name=name or None))).fingerprint
        return train_task(dataset.name, pairs, full_recipe, store_url, force, sketches)
