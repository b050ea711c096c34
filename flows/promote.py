"""A checkpoint into service."""

from prefect import flow

from config.settings import get_settings
from flows.locks import dataset_lock
from flows.parameters import Author, CheckpointName, DatasetName, LocalName, Note, Reason, VotesFile
from flows.run_names import format_run_name
from model.evaluation.votes import read_votes_files
from sources import find_prepared_dataset
from storage import open_store
from storage.promotions import Promoted
from tasks.promote import promote as promote_task


@flow(name="promote", flow_run_name=format_run_name)
def promote(
    source: DatasetName,
    checkpoint: CheckpointName,
    note: Note = "",
    author: Author = "",
    votes: VotesFile = "",
    name: LocalName = "",
    reason: Reason = "",
) -> Promoted:
    """Export a checkpoint's generator, check it, and put it into service.

    Parameters
    ----------
    source : a data set of the catalogue, the path of a folder or archive, or its name if prepared.
    checkpoint : ``RUN/EPOCH``, or ``last`` for the newest one.
    note, by : why, and who says so; kept with the promotion.
    votes : content of the file that the voting page of a comparison saves; kept with the
        promotion.
    name : what a folder or archive was called when it was prepared.
    reason : for the run's name; nothing else.

    Raises
    ------
    InputError
        If the votes are none, or of another data set.
    NotFoundError
        If there is no such checkpoint.
    IntegrityError
        If it is damaged, or its files do not give its pictures. What is in service stays then.
    """
    store_url = get_settings().store
    store = open_store(store_url)
    dataset, _ = find_prepared_dataset(store, source, name or None)
    votes_files = read_votes_files([votes.encode()] if votes else [], dataset.name)
    with dataset_lock("promote", dataset.name):
        return promote_task(
            dataset.name, dataset.title, checkpoint, store_url, note, author, votes_files
        )
