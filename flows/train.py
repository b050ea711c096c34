"""From a published pair set to a trained generator."""

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
    """Train a generator on a data set's current pairs, preparing them first where there are none.

    A finished run is not done again, an interrupted one goes on from its last checkpoint.

    Parameters
    ----------
    source : a data set of the catalogue, the path of a folder or archive, or its name if prepared.
    recipe : changes to the data set's recipe, by field.
    name : what a folder or archive was called when it was prepared.
    refresh : train once more, as a new run beside a finished one.
    reason : for the run's name; nothing else.
    """
    store_url = get_settings().store
    store = open_store(store_url)
    dataset, _ = sources.find_prepared_dataset(store, source, name or None)
    sketches = list(sources.read_sketches(dataset).values())
    full_recipe = make_recipe(dataset.recipe.model_dump(exclude_unset=True), recipe or {})
    with dataset_lock("train", dataset.name):
        # Only now: while a run was waited for other pairs may have come into use.
        _, current = sources.find_prepared_dataset(store, source, name or None)
        pairs = (current or prepare(source, sources.PrepareOptions(name=name or None))).fingerprint
        return train_task(dataset.name, pairs, full_recipe, store_url, force, sketches)
