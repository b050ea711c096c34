"""Another pair set into use: back to an older one, or on to one that was only looked at."""

from prefect import flow
from prefect.logging import get_run_logger

from config.settings import get_settings
from flows.parameters import DataSetName, Fingerprint, Why
from flows.run_names import run_name
from storage import open_store
from storage.choosing import use_pairs
from storage.pair_sets import CurrentPairs


@flow(name="use", flow_run_name=run_name)
def use(source: DataSetName, fingerprint: Fingerprint, reason: Why = "") -> CurrentPairs:
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
    chosen = use_pairs(open_store(get_settings().store), source, fingerprint)
    get_run_logger().info(
        "%s: pair set %s is in use, %s train and %s val pairs",
        *(source, fingerprint, chosen.train, chosen.val),
    )
    return chosen
