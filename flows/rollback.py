"""Back to what was in service before."""

from prefect import flow

from config.settings import get_settings
from flows.locks import one_at_a_time
from flows.parameters import DataSetName, Earlier, Note, Who, Why
from flows.run_names import run_name
from storage.promotions import Promoted
from tasks.promote import roll_back


@flow(name="rollback", flow_run_name=run_name)
def rollback(
    source: DataSetName, to: Earlier = "", note: Note = "", by: Who = "", reason: Why = ""
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
    with one_at_a_time("promote", source):
        return roll_back(source, get_settings().store, note, by, to or None)
