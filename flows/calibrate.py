"""Which edge threshold goes with HED's weights, told by published drawings."""

from prefect import flow

import sources
from config.settings import get_settings, override_settings
from flows.parameters import DEFAULT, DataSetName, Engine, OwnName, Pictures, Why
from flows.prepare import prepare
from flows.run_names import run_name
from storage import open_store
from tasks.calibrate import Calibration, drawn_by_hed
from tasks.calibrate import calibrate as calibrate_on
from tasks.interrupts import heed_termination


@flow(name="calibrate", flow_run_name=run_name)
def calibrate(
    source: DataSetName,
    name: OwnName = "",
    pictures: Pictures = 200,
    engine: Engine = DEFAULT,
    reason: Why = "",
) -> Calibration:
    """Compare HED's lines with published drawings at many thresholds.

    Parameters
    ----------
    source : a data set of the catalogue that came with drawings, the path of a folder or archive
        of pairs (drawing | picture), or its name if prepared.
    name : what to call a folder or archive, or what it was called.
    pictures : how many to compare, taken evenly from all.
    engine : what runs HED, in place of the setting.
    reason : for the run's name; nothing else.

    Raises
    ------
    InputError
        If the data set's drawings are made by HED, or it holds no pairs.
    """
    override_settings(engine=None if engine == DEFAULT else engine)
    store_url = get_settings().store
    dataset, current = sources.find_prepared(open_store(store_url), source, name or None)
    if current is None:
        is_path = dataset.name not in sources.load_catalogue()
        if not is_path and not dataset.paired:
            raise drawn_by_hed(dataset.name)
        choices = sources.Choices(name=name or None, paired=is_path)
        pairs = prepare(source, choices).fingerprint
    else:
        pairs = current.fingerprint
    with heed_termination():
        return calibrate_on(dataset, pairs, store_url, pictures)
