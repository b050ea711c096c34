"""The flow that promotes a checkpoint."""

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
    """Export the generator of a checkpoint, verify the export, and serve it.

    Parameters
    ----------
    source : str
        Name of a data set of the catalogue, path of a folder or archive, or its name if prepared.
    checkpoint : str
        ``RUN/EPOCH``, or ``last`` for the newest one.
    note, author : str
        Why, and by whom. Stored with the promotion.
    votes : str
        Content of a file that the vote page of a comparison saved. Stored with the promotion.
    name : str
        Name under which a folder or archive was prepared.
    reason : str
        Shown in the name of the flow run.

    Returns
    -------
    Promoted

    Raises
    ------
    InputError
        If the votes are invalid, or belong to another data set.
    NotFoundError
        If there is no such checkpoint.
    IntegrityError
        If the checkpoint is corrupt, or the export does not reproduce its pictures. The promoted
        checkpoint does not change then.
    """
    store_url = get_settings().store
    store = open_store(store_url)
    dataset, _ = find_prepared_dataset(store, source, name or None)
    votes_files = read_votes_files([votes.encode()] if votes else [], dataset.name)
    with dataset_lock("promote", dataset.name):
        return promote_task(
            dataset.name, dataset.title, checkpoint, store_url, note, author, votes_files
        )
