"""The checkpoints to compare, and the pictures that their generators generate."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from config.errors import IntegrityError, NotFoundError
from model.data.dataset import scale_drawing, scale_picture, to_condition
from model.export.serialization import load_generator
from model.networks.generator import Generator
from model.training.checkpoint import restore_generator
from model.training.resume import read_metadata
from model.training.samples import to_image
from postprocess import PAIR_SIZE
from storage import ObjectStore
from storage.checkpoint_selection import check_runs_exist
from storage.promoted_files import read_weights
from storage.promotions import Promoted, read_promoted
from storage.runs import CheckpointRecord, Run, list_checkpoints


@dataclass(frozen=True)
class LoadedGenerator:
    """A generator in memory and its properties.

    Attributes
    ----------
    generator : Generator
        With the weights that would be served: the moving average if there is one.
    image_size : int, pixels
        Side of the pictures that it was trained on.
    extent : float in (0, 1]
        Typical share of a side that its training drawings take.
    pairs : str
        Fingerprint of the pair set that it was trained on.
    """

    generator: Generator
    image_size: int
    extent: float
    pairs: str


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that is not loaded yet.

    Attributes
    ----------
    name : str
        ``RUN/EPOCH``.
    sha256 : str
        SHA-256 of the checkpoint's bytes, in hex.
    promoted : bool
        Whether it is in production.
    load : callable
        Returns the generator on the CPU. Raises NotFoundError, CorruptObjectError or
        IntegrityError if a file is missing, damaged or invalid.
    """

    name: str
    sha256: str
    promoted: bool
    load: Callable[[], LoadedGenerator]


def list_candidates(store: ObjectStore, dataset: str, runs: Sequence[str] = ()) -> list[Candidate]:
    """Return the stored checkpoints of a data set, in the order in which they were trained.

    The promoted checkpoint is always included. It is loaded from the files that are served, since
    the checkpoint itself may have been deleted.

    Parameters
    ----------
    store : ObjectStore
    dataset : str
    runs : sequence of str
        Include only these runs and the promoted checkpoint; empty for all runs.

    Returns
    -------
    list of Candidate

    Raises
    ------
    SourceError
        If there is no checkpoint, or no run of a given name; the message lists the existing ones.
    IntegrityError
        If the pointer to the promoted checkpoint cannot be read.
    """
    checkpoints = list_checkpoints(store, dataset)
    check_runs_exist(runs, checkpoints, dataset)
    promoted = read_promoted(store, dataset)
    candidates: list[Candidate] = []
    for run, epochs in checkpoints.items():
        source_run = Run(store, dataset, run)
        for epoch in epochs:
            if promoted is not None and (run, epoch) == (promoted.run, promoted.epoch):
                candidates.append(_promoted_candidate(store, dataset, promoted))
            elif not runs or run in runs:
                candidates += _checkpoint_candidates(store, source_run, f"{run}/{epoch}", epoch)
    if promoted is not None and not any(one.promoted for one in candidates):
        candidates.insert(0, _promoted_candidate(store, dataset, promoted))
    return candidates


def _promoted_candidate(store: ObjectStore, dataset: str, promoted: Promoted) -> Candidate:
    opening = partial(_load_promoted, store, dataset, promoted)
    return Candidate(promoted.checkpoint, promoted.sha256, True, opening)


def _checkpoint_candidates(
    store: ObjectStore, source_run: Run, name: str, epoch: int
) -> list[Candidate]:
    try:
        record = source_run.get_record(epoch)
    except NotFoundError:
        return []  # A running training has deleted it in the meantime.
    return [
        Candidate(name, record.sha256, False, partial(_load_checkpoint, store, source_run, record))
    ]


def _load_promoted(store: ObjectStore, dataset: str, promoted: Promoted) -> LoadedGenerator:
    generator, card = load_generator(read_weights(store, dataset, promoted))
    return LoadedGenerator(generator, card.image_size, card.extent, card.pairs)


def _load_checkpoint(
    store: ObjectStore, source_run: Run, record: CheckpointRecord
) -> LoadedGenerator:
    metadata = read_metadata(store, source_run)
    generator, _ = restore_generator(source_run.read_checkpoint(record), metadata.recipe)
    return LoadedGenerator(generator, metadata.recipe.image_size, metadata.extent, metadata.pairs)


@torch.no_grad()
def generate_pictures(
    loaded: LoadedGenerator, drawings: Sequence[NDArray[np.uint8]], device: torch.device
) -> Iterator[NDArray[np.uint8]]:
    """Generate a picture for each drawing.

    As in serving, drawings are processed one at a time at the size that the generator was trained
    at. The pictures are then scaled to 256×256, so that those of all checkpoints have one size.

    Parameters
    ----------
    loaded : LoadedGenerator
    drawings : sequence of ndarray, uint8, 256×256
        0 on lines.
    device : torch.device

    Yields
    ------
    ndarray
        uint8 256×256×3 RGB.

    Raises
    ------
    IntegrityError
        If a picture contains values that are not finite.
    """
    generator = loaded.generator.to(device)
    for drawing in drawings:
        condition = to_condition(scale_drawing(drawing, loaded.image_size)).unsqueeze(0)
        picture = generator(condition.to(device))[0].cpu()
        if not picture.isfinite().all():
            raise IntegrityError("Its pictures contain values that are not finite.")
        yield scale_picture(to_image(picture), PAIR_SIZE)
