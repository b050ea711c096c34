"""Which checkpoints are compared, and what their generators draw."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from errors import IntegrityError, NotFoundError, SourceError
from model.card import RunFacts
from model.checkpoint import restore_generator
from model.data import scale_drawing, scale_picture, to_condition
from model.runs import read_facts
from model.samples import to_image
from postprocess import PAIR_SIZE
from storage import ObjectStore
from storage.promotion import read_promoted
from storage.registry import CheckpointRecord, Run, list_checkpoints


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that is there, and what is known of its run.

    Attributes
    ----------
    run, record, facts : which checkpoint.
    promoted : whether it is the one in production.
    """

    run: str
    record: CheckpointRecord
    facts: RunFacts
    promoted: bool

    @property
    def name(self) -> str:
        """``RUN/EPOCH``, as it is promoted."""
        return f"{self.run}/{self.record.epoch}"


def find_candidates(store: ObjectStore, dataset: str, runs: Sequence[str] = ()) -> list[Candidate]:
    """Return every kept checkpoint of a data set, the runs in the order in which they were trained.

    Parameters
    ----------
    store, dataset : where to look.
    runs : these only, and the one in production; of all runs where there are none.

    Raises
    ------
    SourceError
        If there is no checkpoint, or no such run; the message tells what there is.
    IntegrityError
        If what is known of a run cannot be read.
    """
    there = list_checkpoints(store, dataset)
    unknown = [run for run in runs if run not in there]
    if unknown:
        known = ", ".join(there) or "none"
        raise SourceError(
            f"{dataset} has no run {unknown[0]} with a checkpoint. There are: {known}."
        )
    if not there:
        raise SourceError(f"{dataset} has no checkpoint to compare. Run `icanvas train {dataset}`.")
    promoted = read_promoted(store, dataset)
    production = None if promoted is None else (promoted.run, promoted.epoch)
    found = []
    for run, epochs in there.items():
        wanted = [
            epoch for epoch in epochs if not runs or run in runs or (run, epoch) == production
        ]
        place = Run(store, dataset, run)
        facts = read_facts(store, place) if wanted else None
        for epoch in wanted:
            try:
                record = place.find_checkpoint(epoch)
            except NotFoundError:
                continue  # A run in training has dropped it since.
            assert facts is not None, "read for the first of them"
            found.append(Candidate(run, record, facts, (run, epoch) == production))
    return found


class Drawer:
    """A checkpoint's generator with the weights that are served: the average where there is one.

    Parameters
    ----------
    store, dataset, candidate : which one.
    device : where it draws.

    Raises
    ------
    NotFoundError, DamagedError, IntegrityError
        If the checkpoint is gone, damaged, or none.
    """

    def __init__(
        self, store: ObjectStore, dataset: str, candidate: Candidate, device: torch.device
    ) -> None:
        data = Run(store, dataset, candidate.run).get_checkpoint(candidate.record)
        generator, _ = restore_generator(data, candidate.facts.recipe)
        self._generator = generator.to(device)
        self._device = device
        self._size = candidate.facts.recipe.image_size

    @torch.no_grad()
    def draw(self, drawings: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """Yield a picture, uint8 256×256×3, for each drawing, uint8 256×256.

        It is drawn at the size that the run was trained at, one at a time as it is served, and
        scaled: the pictures of all checkpoints are of one size.

        Raises
        ------
        IntegrityError
            If a picture holds values that are not finite.
        """
        for drawing in drawings:
            condition = to_condition(scale_drawing(drawing, self._size)).unsqueeze(0)
            picture = self._generator(condition.to(self._device))[0].cpu()
            if not picture.isfinite().all():
                raise IntegrityError("Its pictures hold values that are not finite.")
            yield scale_picture(to_image(picture), PAIR_SIZE)
