"""Files of a run for people: sample grids, loss plot, metrics and TensorBoard's events."""

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

# Files that only grow: each epoch with a checkpoint replaces them.
APPEND_ONLY = (METRICS_FILE, PLOT_FILE)


@dataclass(frozen=True)
class RunArtifacts:
    """Renders the files of a run.

    Attributes
    ----------
    title : str
        Of the plot.
    pairs : PairDataset
        The first of them are in the sample grids.
    sketches : callable or None
        Returns the sketches, from ``prepare_sketch``; called when the first grid is rendered. None
        where the data set has no sketches.
    device : torch.device
        Device of the networks.
    """

    title: str
    pairs: PairDataset
    sketches: Callable[[], Sequence[NDArray[np.uint8]]] | None
    device: torch.device

    def epoch_files(
        self, state: TrainingState, has_checkpoint: bool
    ) -> dict[str, Callable[[], bytes]]:
        """Return the files to write at the end of an epoch.

        Equal states give equal bytes.

        Parameters
        ----------
        state : TrainingState
            At the end of an epoch.
        has_checkpoint : bool
            Whether the epoch has a checkpoint. If not, only events are written, without images.

        Returns
        -------
        dict of str to callable
            By name in the run's folder: a function that renders the file.
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
        """Return the files to write within an epoch, by name in the run's folder.

        The end of the epoch replaces them by the complete files.
        """
        lines = state.progress.lines
        return {
            METRICS_FILE: lambda: serialize_log(state),
            events_name(state.epoch + 1): lambda: serialize_events(lines, {}, state.step),
        }


def serialize_log(state: TrainingState) -> bytes:
    """Return metrics.jsonl, with the lines of the epoch in progress at the end."""
    lines = [*state.log, *state.progress.lines]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
