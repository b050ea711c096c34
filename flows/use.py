"""The flow that puts an existing pair set into use."""

from prefect import flow
from prefect.logging import get_run_logger

from config.settings import get_settings
from flows.parameters import DatasetName, Fingerprint, Reason
from flows.run_names import format_run_name
from storage import open_store
from storage.pair_sets import CurrentPairs, use_pair_set


@flow(name="use", flow_run_name=format_run_name)
def use(source: DatasetName, fingerprint: Fingerprint, reason: Reason = "") -> CurrentPairs:
    """Put an existing pair set into use. Nothing is extracted or removed.

    Parameters
    ----------
    source : str
        Name of a data set.
    fingerprint : str
        Fingerprint of the pair set, 12 hex digits.
    reason : str
        Shown in the name of the flow run.

    Returns
    -------
    CurrentPairs

    Raises
    ------
    NotFoundError
        If there is no such pair set. The message lists those that exist.
    """
    current = use_pair_set(open_store(get_settings().store), source, fingerprint)
    get_run_logger().info(
        "%s: pair set %s is in use, %s train and %s val pairs",
        source,
        fingerprint,
        current.train,
        current.val,
    )
    return current
