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
from model.training.plot import render_loss_plot
from model.training.samples import render_samples, render_sketches
from model.training.tensorboard import events_name, serialize_events
from storage.runs import sample_name, sketches_name

METRICS_FILE = "metrics.jsonl"
PLOT_FILE = "losses.png"

# Files that each checkpoint writes anew.
APPEND_ONLY = (METRICS_FILE, PLOT_FILE)


@dataclass(frozen=True)
class RunArtifacts:
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

    def epoch_files(
        self, state: TrainingState, has_checkpoint: bool
    ) -> dict[str, Callable[[], bytes]]:
        """Return what to write at the end of an epoch, by name: each is made when it is called.

        The same state gives the same bytes.

        Parameters
        ----------
        state : at the end of an epoch.
        checkpoint : whether one is kept of it. Else there are only events, and no image in them.
        """
        images: dict[str, Callable[[], bytes]] = {}
        files: dict[str, Callable[[], bytes]] = {}
        if has_checkpoint:
            files[sample_name(state.epoch)] = images["samples/pairs"] = cache(
                lambda: render_samples(state.eval_generator, self.pairs, self.device)
            )
            sketches = self.sketches
            if sketches is not None:
                files[sketches_name(state.epoch)] = images["samples/sketches"] = cache(
                    lambda: render_sketches(state.eval_generator, sketches(), self.device)
                )
            files[METRICS_FILE] = lambda: serialize_log(state)
            files[PLOT_FILE] = lambda: render_loss_plot(state.log, self.title)
        files[events_name(state.epoch)] = lambda: serialize_events(
            [line for line in state.log if line["epoch"] == state.epoch],
            {tag: render() for tag, render in images.items()},
            state.step,
        )
        return files

    def partial_files(self, state: TrainingState) -> dict[str, Callable[[], bytes]]:
        """Return what to write within an epoch; its end writes the same files to their end."""
        lines = state.progress.lines
        return {
            METRICS_FILE: lambda: serialize_log(state),
            events_name(state.epoch + 1): lambda: serialize_events(lines, {}, state.step),
        }


def serialize_log(state: TrainingState) -> bytes:
    """Return ``metrics.jsonl``, the lines of an epoch in progress last."""
    lines = [*state.log, *state.progress.lines]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
