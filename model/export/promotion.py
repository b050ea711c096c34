"""Promotion of a checkpoint to production, and rollback."""

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

# Number of example drawings per generator: templates for the drawing page, and test inputs for
# serving engines.
MAX_EXAMPLES = 6

# Emptier drawings make bad examples; share of line pixels.
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
    """Export a checkpoint's generator, verify it, and make it the promoted one.

    If it is promoted already and its files are intact, only the note and the votes are updated.

    Parameters
    ----------
    store : ObjectStore
        Contains the run.
    dataset, run, epoch : str, str, int
        The checkpoint.
    title : str
        The data set's title for people.
    note, author : str
        Reason for the promotion, and its author.
    votes : sequence of Votes
        Votes that the checkpoint was chosen by; stored right before the pointer changes.

    Returns
    -------
    Promoted
        The new pointer.

    Raises
    ------
    NotFoundError
        If the checkpoint does not exist.
    IntegrityError
        If the checkpoint is damaged, or its exported files do not generate its pictures. The
        pointer does not change.
    ConflictError
        If another promotion happens at the same time, or `icanvas gc` deletes the checkpoint.
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
    """Promote a previously promoted checkpoint again. A second rollback undoes the first.

    Parameters
    ----------
    store : ObjectStore
    dataset : str
    target : str or None
        ``RUN/EPOCH`` of an earlier promotion; None for the previous one.
    note, author : str
        Reason for the rollback, and its author.

    Returns
    -------
    Promoted
        The new pointer.

    Raises
    ------
    InputError
        If there is no such earlier promotion; the message lists the existing ones.
    IntegrityError, NotFoundError
        If its files are damaged or missing. The pointer does not change.
    ConflictError
        If another promotion happens at the same time.
    """
    current = read_promoted(store, dataset)
    if current is None or not current.previous:
        raise InputError(f"{dataset} cannot be rolled back: it has no earlier promotion.")
    matches = [
        old
        for old in current.previous
        # The history may list a promotion that failed before its files were written.
        if (target is None and store.exists(keys.export_card(dataset, old.export)))
        or target == old.checkpoint
    ]
    if not matches:
        known = ", ".join(dict.fromkeys(old.checkpoint for old in current.previous))
        raise InputError(
            f"{target or dataset} cannot be rolled back to. Earlier promotions: {known}."
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
    """Return drawings of validation pairs with the generator's pictures.

    Falls back to training pairs. Returns none if the pair set was deleted.
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
        _generate_example(dataset_pairs.load_pair(index)[0], generator, image_size)
        for index in chosen
    ]


@torch.no_grad()
def _generate_example(drawing: NDArray[np.uint8], generator: Generator, image_size: int) -> Example:
    condition = to_condition(scale_drawing(drawing, image_size)).unsqueeze(0)
    return Example(encode_png(drawing), encode_png(to_image(generator(condition)[0])))
