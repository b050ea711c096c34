"""The flow that serves an earlier checkpoint again."""

from prefect import flow

from config.settings import get_settings
from flows.locks import dataset_lock
from flows.parameters import Author, DatasetName, Note, Reason, TargetVersion
from flows.run_names import format_run_name
from storage.promotions import Promoted
from tasks.promote import rollback as rollback_task


@flow(name="rollback", flow_run_name=format_run_name)
def rollback(
    source: DatasetName,
    target: TargetVersion = "",
    note: Note = "",
    author: Author = "",
    reason: Reason = "",
) -> Promoted:
    """Serve an earlier checkpoint again. A second rollback undoes the first.

    Parameters
    ----------
    source : str
        Name of a data set.
    target : str
        ``RUN/EPOCH`` of an earlier promotion; the previous one if empty.
    note, author : str
        Why, and by whom. Stored with the promotion.
    reason : str
        Shown in the name of the flow run.

    Returns
    -------
    Promoted

    Raises
    ------
    InputError
        If there is no such earlier promotion. The message lists those that exist.
    IntegrityError, NotFoundError
        If files of the export are corrupt or missing. The promoted checkpoint does not change then.
    """
    with dataset_lock("promote", source):
        return rollback_task(source, get_settings().store, note, author, target or None)
