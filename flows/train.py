"""From a published pair set to a trained generator."""

from prefect import flow

import sources
from config.recipe import make_recipe
from config.settings import get_settings
from flows.locks import one_at_a_time
from flows.parameters import DataSetName, OwnName, Recipe, Refresh, Why
from flows.prepare import prepare
from flows.run_names import run_name
from model.training.train import TrainedRun
from storage import open_store
from tasks.train import train as train_on

_AS_LISTED: dict[str, bool | int | float | str] = {}


@flow(name="train", flow_run_name=run_name)
def train(
    source: DataSetName,
    recipe: Recipe = _AS_LISTED,
    name: OwnName = "",
    refresh: Refresh = False,
    reason: Why = "",
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
    dataset, _ = sources.find_prepared(store, source, name or None)
    sketches = list(sources.read_sketches(dataset).values())
    complete = make_recipe(dataset.recipe.model_dump(exclude_none=True), recipe or {})
    with one_at_a_time("train", dataset.name):
        # Only now: while a run was waited for other pairs may have come into use.
        _, current = sources.find_prepared(store, source, name or None)
        pairs = (current or prepare(source, sources.Choices(name=name or None))).fingerprint
        return train_on(dataset.name, pairs, complete, store_url, refresh, sketches)
