"""Back to what was in service before."""

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
    """Put back into service what was before; once more leads forth again.

    Parameters
    ----------
    source : a data set's name.
    to : ``RUN/EPOCH`` of an older one; the last one when left empty.
    note, by : why, and who says so; kept with the promotion.
    reason : for the run's name; nothing else.

    Raises
    ------
    InputError
        If there is nothing to go back to; the message tells what there is.
    IntegrityError, NotFoundError
        If its files are damaged or gone. What is in service stays then.
    """
    with dataset_lock("promote", source):
        return rollback_task(source, get_settings().store, note, author, target or None)
