"""A checkpoint into service: exported, checked, written, pointed at. And back to the one before."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import torch
from numpy.typing import NDArray

from config.errors import CorruptObjectError, InputError, NotFoundError
from model.data.dataset import PairDataset, scale_drawing, to_condition
from model.evaluation.votes import Votes, save_votes
from model.export.generator import export_checkpoint
from model.export.serialization import load_generator
from model.networks.generator import Generator
from model.training.samples import to_image
from postprocess import encode_png
from storage import ObjectStore, keys
from storage.promoted_files import Example, read_onnx, read_weights, write_export
from storage.promotions import Promoted, Promotion, read_promoted, swap_promoted
from storage.runs import Run

# How many drawings a generator comes with: to trace, to know it by, to check an engine against.
MAX_EXAMPLES = 6

# A drawing with next to nothing on it shows nothing, in share of line pixels.
_MIN_EDGE_DENSITY = 0.01


def promote_checkpoint(
    store: ObjectStore,
    dataset: str,
    run: str,
    epoch: int,
    *,
    title: str,
    note: str = "",
    author: str = "",
    votes: Sequence[Votes] = (),
) -> Promoted:
    """Export a checkpoint's generator, check it, and point at it.

    What is in service already, and whole, is left as it is, but for a new note or new votes.

    Parameters
    ----------
    store : holds the run.
    dataset, run, epoch : which checkpoint.
    title : of the data set, for people.
    note, by : why, and who says so.
    votes : that it was chosen by; kept right before the pointer moves.

    Returns
    -------
    Promoted
        The pointer as it is now.

    Raises
    ------
    NotFoundError
        If there is no such checkpoint.
    IntegrityError
        If it is damaged, does not load, or its files do not give its pictures, all of them finite.
        The pointer stays then.
    ConflictError
        If someone else promotes at the same time, or `icanvas gc` removes it.
    """
    current = read_promoted(store, dataset)
    record = Run(store, dataset, run).get_record(epoch)
    if (
        current is not None
        and current.sha256 == record.sha256
        and _is_intact(store, dataset, current)
    ):
        if not (note or votes):
            return current
        votes_key = save_votes(store, dataset, votes)
        changes = {"note": note, "by": author, "votes": votes_key, "at": datetime.now(UTC)}
        return swap_promoted(store, dataset, current.model_copy(update=changes), current)
    export = export_checkpoint(store, dataset, run, epoch)
    card = export.card.model_dump_json(indent=2).encode()
    generator, _ = load_generator(export.weights)
    examples = _generate_examples(
        store, dataset, export.card.pairs, generator, export.card.image_size
    )
    stored = write_export(store, dataset, export.weights, export.network, card, examples)
    promotion = Promotion(
        title=title,
        run=run,
        epoch=epoch,
        sha256=record.sha256,
        export=stored.export,
        weights=stored.weights,
        network=stored.network,
        examples=stored.examples,
        note=note,
        by=author,
        at=datetime.now(UTC),
        votes=save_votes(store, dataset, votes),
    )
    return swap_promoted(store, dataset, promotion, current)


def rollback(
    store: ObjectStore, dataset: str, *, target: str | None = None, note: str = "", author: str = ""
) -> Promoted:
    """Point at what was in service before; a second time leads forth again.

    Parameters
    ----------
    store, dataset : which pointer.
    to : ``RUN/EPOCH`` of an older one; the last one when left out.
    note, by : why, and who says so.

    Raises
    ------
    InputError
        If there is nothing to go back to; the message tells what there is.
    IntegrityError, NotFoundError
        If its files are damaged or gone. The pointer stays then.
    ConflictError
        If someone else promotes at the same time.
    """
    current = read_promoted(store, dataset)
    if current is None or not current.previous:
        raise InputError(f"{dataset} has nothing to go back to: it was promoted once at most.")
    matches = [
        old
        for old in current.previous
        # A promotion that came to nothing may have been put down.
        if (target is None and store.exists(keys.export_card(dataset, old.export)))
        or target == old.checkpoint
    ]
    if not matches:
        known = ", ".join(dict.fromkeys(old.checkpoint for old in current.previous))
        raise InputError(
            f"{target or dataset}: no such files to go back to. In service were: {known}."
        )
    promotion = matches[0].model_copy(update={"note": note, "by": author, "at": datetime.now(UTC)})
    load_generator(read_weights(store, dataset, promotion))
    read_onnx(store, dataset, promotion)
    return swap_promoted(store, dataset, promotion, current)


def _is_intact(store: ObjectStore, dataset: str, promotion: Promotion) -> bool:
    try:
        read_weights(store, dataset, promotion)
        read_onnx(store, dataset, promotion)
    except (NotFoundError, CorruptObjectError):
        return False
    return True


def _generate_examples(
    store: ObjectStore, dataset: str, pairs: str, generator: Generator, image_size: int
) -> list[Example]:
    """Return drawings of pairs that were kept out of training, with the generator's pictures.

    None where the pair set is not there any more.
    """
    try:
        dataset_pairs = PairDataset(
            store, dataset, pairs, "val", image_size, min_density=_MIN_EDGE_DENSITY
        )
        if not len(dataset_pairs):
            dataset_pairs = PairDataset(
                store, dataset, pairs, "train", image_size, min_density=_MIN_EDGE_DENSITY
            )
    except NotFoundError:
        return []
    count = min(MAX_EXAMPLES, len(dataset_pairs))
    chosen = (
        np.linspace(0, len(dataset_pairs) - 1, count).round().astype(int).tolist() if count else []
    )
    return [
        _generate_example(dataset_pairs.load_pair(index)[0], generator, image_size) for index in chosen
    ]


@torch.no_grad()
def _generate_example(drawing: NDArray[np.uint8], generator: Generator, image_size: int) -> Example:
    condition = to_condition(scale_drawing(drawing, image_size)).unsqueeze(0)
    return Example(encode_png(drawing), encode_png(to_image(generator(condition)[0])))
