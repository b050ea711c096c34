"""What a person watches a run by: grids, curves, and TensorBoard's events."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from model.data.dataset import PairDataset
from model.training.checkpoint import TrainingState
from model.training.plot import plot_log
from model.training.samples import draw_samples, draw_sketches
from model.training.tensorboard import events_name, write_events
from storage.runs import sample_name, sketches_name

METRICS = "metrics.jsonl"
PLOT = "losses.png"

# Files that each checkpoint writes anew.
GROWING = (METRICS, PLOT)


@dataclass(frozen=True)
class Watch:
    """The files of a run that are there to be looked at.

    Attributes
    ----------
    title : of the plot.
    pairs : the first of them are drawn.
    sketches : gives drawings by hand, as ``fit_sketch`` returns them, when they are first drawn
        from; None where there are none.
    device : that the networks are on.
    """

    title: str
    pairs: PairDataset
    sketches: Callable[[], Sequence[NDArray[np.uint8]]] | None
    device: torch.device

    def files(self, state: TrainingState, checkpoint: bool) -> dict[str, Callable[[], bytes]]:
        """Return what to write at the end of an epoch, by name: each is made when it is called.

        The same state gives the same bytes.

        Parameters
        ----------
        state : at the end of an epoch.
        checkpoint : whether one is kept of it. Else there are only events, and no image in them.
        """
        grids: dict[str, Callable[[], bytes]] = {}
        files: dict[str, Callable[[], bytes]] = {}
        if checkpoint:
            files[sample_name(state.epoch)] = grids["samples/pairs"] = cache(
                lambda: draw_samples(state.drawing, self.pairs, self.device)
            )
            sketches = self.sketches
            if sketches is not None:
                files[sketches_name(state.epoch)] = grids["samples/sketches"] = cache(
                    lambda: draw_sketches(state.drawing, sketches(), self.device)
                )
            files[METRICS] = lambda: write_log(state)
            files[PLOT] = lambda: plot_log(state.log, self.title)
        files[events_name(state.epoch)] = lambda: write_events(
            [line for line in state.log if line["epoch"] == state.epoch],
            {tag: make() for tag, make in grids.items()},
            state.step,
        )
        return files

    def growing(self, state: TrainingState) -> dict[str, Callable[[], bytes]]:
        """Return what to write within an epoch; its end writes the same files to their end."""
        lines = state.progress.lines
        return {
            METRICS: lambda: write_log(state),
            events_name(state.epoch + 1): lambda: write_events(lines, {}, state.step),
        }


def write_log(state: TrainingState) -> bytes:
    """Return ``metrics.jsonl``, the lines of an epoch in progress last."""
    lines = [*state.log, *state.progress.lines]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
