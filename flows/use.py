"""Another pair set into use: back to an older one, or on to one that was only looked at."""

from prefect import flow
from prefect.logging import get_run_logger

from config.settings import get_settings
from flows.parameters import DatasetName, Fingerprint, Reason
from flows.run_names import format_run_name
from storage import open_store
from storage.pair_sets import CurrentPairs, use_pair_set


@flow(name="use", flow_run_name=format_run_name)
def use(source: DatasetName, fingerprint: Fingerprint, reason: Reason = "") -> CurrentPairs:
    """Put a pair set that is there into use; nothing is extracted, nothing removed.

    Parameters
    ----------
    source : a data set's name.
    fingerprint : of the pair set.
    reason : for the run's name; nothing else.

    Raises
    ------
    NotFoundError
        If there is no such pair set; the message lists those that there are.
    """
    current = use_pair_set(open_store(get_settings().store), source, fingerprint)
    get_run_logger().info(
        "%s: pair set %s is in use, %s train and %s val pairs",
        *(source, fingerprint, current.train, current.val),
    )
    return current
