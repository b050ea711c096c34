"""The flow that finds the edge threshold for HED's weights from published drawings."""

from prefect import flow

import sources
from config.settings import get_settings, override_settings
from flows.parameters import DEFAULT, DatasetName, EngineName, LocalName, NumPictures, Reason
from flows.prepare import prepare
from flows.run_names import format_run_name
from storage import open_store
from tasks.calibrate import Calibration, make_hed_drawings_error
from tasks.calibrate import calibrate as calibrate_task
from tasks.interrupts import handle_sigterm


@flow(name="calibrate", flow_run_name=format_run_name)
def calibrate(
    source: DatasetName,
    name: LocalName = "",
    pictures: NumPictures = 200,
    engine: EngineName = DEFAULT,
    reason: Reason = "",
) -> Calibration:
    """Compare HED's lines with published drawings at many edge thresholds.

    Parameters
    ----------
    source : str
        Name of a data set that was published with drawings, path of a folder or archive of pairs
        (drawing | picture), or its name if prepared.
    name : str
        Name of a folder or archive that is prepared here, or was before.
    pictures : int
        Number of pictures to compare, evenly spaced over the data set, at least 1.
    engine : str
        HED engine; ``default`` for that of the settings.
    reason : str
        Shown in the name of the flow run.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        If the drawings were extracted by HED, or the data set contains no pairs.
    """
    override_settings(engine=None if engine == DEFAULT else engine)
    store_url = get_settings().store
    dataset, current = sources.find_prepared_dataset(open_store(store_url), source, name or None)
    if current is None:
        is_path = dataset.name not in sources.load_catalogue()
        if not is_path and not dataset.paired:
            raise make_hed_drawings_error(dataset.name)
        options = sources.PrepareOptions(name=name or None, paired=is_path)
        pairs = prepare(source, options).fingerprint
    else:
        pairs = current.fingerprint
    with handle_sigterm():
        return calibrate_task(dataset, pairs, store_url, pictures)
