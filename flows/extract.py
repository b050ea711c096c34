"""The flow that extracts the edges of a prepared data set again, with other settings."""

from prefect import flow

import sources
from config.errors import SourceError
from config.settings import get_settings, override_settings
from flows.locks import dataset_lock
from flows.parameters import DEFAULT, DatasetName, EngineName, FitMode, Force, Reason, Use
from flows.prepare import build_pair_set, retry_if_corrupt
from flows.run_names import format_run_name
from sources import EdgeOptions, PrepareOptions, RawSet
from storage import open_store
from storage.pair_sets import read_settings
from tasks.publish import PairSet

_DEFAULT_EDGES = EdgeOptions()


@flow(name="extract", flow_run_name=format_run_name)
def extract(
    source: DatasetName,
    edges: EdgeOptions = _DEFAULT_EDGES,
    fit: FitMode = DEFAULT,
    use: Use = True,
    force: Force = False,
    engine: EngineName = DEFAULT,
    reason: Reason = "",
) -> PairSet:
    """Extract the edges of a prepared data set again, with other settings.

    The pictures are those of the current pair set; the source is not used. The new pair set is
    published beside the old one and compared with it.

    Parameters
    ----------
    source : str
        Name of a data set of the catalogue, or of a prepared folder or archive.
    edges : EdgeOptions
        Changes to the edge settings of the catalogue.
    fit : str
        How pictures are fitted to the square; ``default`` for the data set's own way.
    use : bool
        Put the new pair set into use when it is complete.
    force : bool
        Extract everything again even if a pair set with these settings exists.
    engine : str
        HED engine; ``default`` for that of the settings.
    reason : str
        Shown in the name of the flow run.

    Returns
    -------
    PairSet

    Raises
    ------
    SourceError
        If the data set is not prepared.
    """
    override_settings(engine=None if engine == DEFAULT else engine)
    store_url = get_settings().store
    store = open_store(store_url)
    with dataset_lock("pairs", sources.find_prepared_dataset(store, source)[0].name):
        # Read after the lock is held: the run that held it may have changed the current pair set.
        configured, current = sources.find_prepared_dataset(store, source)
        if current is None:
            raise SourceError(f"{source} has no pictures in the store. Prepare it first.")
        settings = read_settings(store, configured.name, current.fingerprint)
        # `prepare` uses published drawings; this flow replaces them by HED's.
        paired = bool(settings.get("paired"))
        dataset = sources.apply_options(
            configured.model_copy(update={"paired": paired}),
            PrepareOptions(
                **edges.model_dump(), fit=None if fit == DEFAULT else fit, re_extract=paired
            ),
        )

        def load_raw() -> RawSet:
            return sources.read_raw(dataset, settings["raw"], store)

        return retry_if_corrupt(lambda: build_pair_set(dataset, store_url, force, load_raw, use))
