"""A checkpoint into service: exported, checked, written, pointed at. And back to the one before."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import torch
from numpy.typing import NDArray

from config.errors import DamagedError, InputError, NotFoundError
from model.data.dataset import PairDataset, scale_drawing, to_condition
from model.evaluation.votes import Votes, keep_votes
from model.export.generator import make_export
from model.export.serialization import load_generator
from model.networks.generator import Generator
from model.training.samples import to_image
from postprocess import encode_png
from storage import ObjectStore, keys
from storage.promoted_files import Example, put_export, read_network, read_weights
from storage.promotions import Promoted, Promotion, read_promoted, swap_promoted
from storage.runs import Run

# How many drawings a generator comes with: to trace, to know it by, to check an engine against.
EXAMPLES = 6

# A drawing with next to nothing on it shows nothing, in share of line pixels.
_LEAST_DRAWN = 0.01


def promote(
    store: ObjectStore,
    dataset: str,
    run: str,
    epoch: int,
    *,
    title: str,
    note: str = "",
    by: str = "",
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
    before = read_promoted(store, dataset)
    record = Run(store, dataset, run).find_checkpoint(epoch)
    if before is not None and before.sha256 == record.sha256 and _is_whole(store, dataset, before):
        if not (note or votes):
            return before
        kept = keep_votes(store, dataset, votes)
        said = {"note": note, "by": by, "votes": kept, "at": datetime.now(UTC)}
        return swap_promoted(store, dataset, before.model_copy(update=said), before)
    export = make_export(store, dataset, run, epoch)
    card = export.card.model_dump_json(indent=2).encode()
    generator, _ = load_generator(export.weights)
    examples = _draw_examples(store, dataset, export.card.pairs, generator, export.card.image_size)
    stored = put_export(store, dataset, export.weights, export.network, card, examples)
    chosen = Promotion(
        title=title,
        run=run,
        epoch=epoch,
        sha256=record.sha256,
        export=stored.export,
        weights=stored.weights,
        network=stored.network,
        examples=stored.examples,
        note=note,
        by=by,
        at=datetime.now(UTC),
        votes=keep_votes(store, dataset, votes),
    )
    return swap_promoted(store, dataset, chosen, before)


def roll_back(
    store: ObjectStore, dataset: str, *, to: str | None = None, note: str = "", by: str = ""
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
    before = read_promoted(store, dataset)
    if before is None or not before.previous:
        raise InputError(f"{dataset} has nothing to go back to: it was promoted once at most.")
    found = [
        old
        for old in before.previous
        # A promotion that came to nothing may have been put down.
        if (to is None and store.exists(keys.export_card(dataset, old.export)))
        or to == old.checkpoint
    ]
    if not found:
        known = ", ".join(dict.fromkeys(old.checkpoint for old in before.previous))
        raise InputError(f"{to or dataset}: no such files to go back to. In service were: {known}.")
    chosen = found[0].model_copy(update={"note": note, "by": by, "at": datetime.now(UTC)})
    load_generator(read_weights(store, dataset, chosen))
    read_network(store, dataset, chosen)
    return swap_promoted(store, dataset, chosen, before)


def _is_whole(store: ObjectStore, dataset: str, promotion: Promotion) -> bool:
    try:
        read_weights(store, dataset, promotion)
        read_network(store, dataset, promotion)
    except (NotFoundError, DamagedError):
        return False
    return True


def _draw_examples(
    store: ObjectStore, dataset: str, pairs: str, generator: Generator, side: int
) -> list[Example]:
    """Return drawings of pairs that were kept out of training, with the generator's pictures.

    None where the pair set is not there any more.
    """
    try:
        found = PairDataset(store, dataset, pairs, "val", side, min_density=_LEAST_DRAWN)
        if not len(found):
            found = PairDataset(store, dataset, pairs, "train", side, min_density=_LEAST_DRAWN)
    except NotFoundError:
        return []
    count = min(EXAMPLES, len(found))
    chosen = np.linspace(0, len(found) - 1, count).round().astype(int).tolist() if count else []
    return [_draw_example(found.halves(index)[0], generator, side) for index in chosen]


@torch.no_grad()
def _draw_example(drawing: NDArray[np.uint8], generator: Generator, side: int) -> Example:
    condition = to_condition(scale_drawing(drawing, side)).unsqueeze(0)
    return Example(encode_png(drawing), encode_png(to_image(generator(condition)[0])))
