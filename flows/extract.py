"""Another pair set from pictures that are in the store: other edges, nothing fetched."""

from prefect import flow

import sources
from config.errors import SourceError
from config.settings import get_settings, override_settings
from flows.locks import one_at_a_time
from flows.parameters import DEFAULT, DataSetName, Engine, Fit, Refresh, Use, Why
from flows.prepare import make_pairs, twice
from flows.run_names import run_name
from sources import Choices, EdgeChoices, RawSet
from storage import open_store
from storage.pair_sets import read_settings
from tasks.publish import PairSet

_AS_LISTED = EdgeChoices()


@flow(name="extract", flow_run_name=run_name)
def extract(
    source: DataSetName,
    edges: EdgeChoices = _AS_LISTED,
    fit: Fit = DEFAULT,
    use: Use = True,
    refresh: Refresh = False,
    engine: Engine = DEFAULT,
    reason: Why = "",
) -> PairSet:
    """Extract the edges of a prepared data set again, with other settings.

    Its pictures are those of the pair set in use; no source is asked. The new pair set appears
    beside the old one, and is compared with it.

    Parameters
    ----------
    source : a data set of the catalogue, or the name of a folder or archive that was prepared.
    edges, fit : what is to be other than the catalogue says.
    use : put the new pair set into use when it is complete.
    refresh : extract everything again though there is a pair set with these settings.
    engine : what runs HED, in place of the setting.
    reason : for the run's name; nothing else.

    Raises
    ------
    SourceError
        If the data set is not prepared yet.
    """
    override_settings(engine=None if engine == DEFAULT else engine)
    store_url = get_settings().store
    store = open_store(store_url)
    with one_at_a_time("pairs", sources.find_prepared(store, source)[0].name):
        # Only now: a run that was waited for may have put other pictures into use.
        listed, current = sources.find_prepared(store, source)
        if current is None:
            raise SourceError(f"{source} has no pictures in the store. Prepare it first.")
        settings = read_settings(store, listed.name, current.fingerprint)
        # Published drawings are what `prepare` takes; here they are drawn anew.
        paired = bool(settings.get("paired"))
        dataset = sources.change(
            listed.model_copy(update={"paired": paired}),
            Choices(**edges.model_dump(), fit=None if fit == DEFAULT else fit, re_extract=paired),
        )

        def get_raw() -> RawSet:
            return sources.read_raw(dataset, settings["raw"], store)

        return twice(lambda: make_pairs(dataset, store_url, refresh, get_raw, use))
