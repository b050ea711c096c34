"""A run from its pairs to its last checkpoint."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from config.errors import InputError, StorageError
from config.recipe import Recipe
from model.data.dataset import PairDataset, count_workers
from model.data.stroke_cache import keep_strokes
from model.device import choose_device, settle_precision
from model.training.artifacts import METRICS, PLOT, Watch
from model.training.callbacks import NO_HOOKS, Hooks, TrainingStopped
from model.training.distributed import ALONE, Crew
from model.training.loop import learn
from model.training.memory import MemoryWatch
from model.training.resume import find_run, keep_facts
from model.training.samples import fit_sketch, typical_extent
from model.training.tensorboard import EVENTS
from storage import ObjectStore
from storage.gc_policy import Keeping
from storage.pins import check_kept
from storage.runs import Run, checkpoint_name, sample_name, sketches_name
from storage.uploads import Outbox


@dataclass(frozen=True)
class TrainedRun:
    """A finished run in short.

    Attributes
    ----------
    dataset, run : which one.
    pairs : fingerprint of the pair set that it learned from.
    left_out : training pairs that were too blank to learn from.
    epochs, steps : done in all.
    metrics : the last epoch's means.
    checkpoint, samples, metrics_file, plot, events : where a person finds them; the events are a
        folder for TensorBoard.
    sketches : the grid of drawings by hand; None where the data set has none.
    """

    dataset: str
    run: str
    pairs: str
    left_out: int
    epochs: int
    steps: int
    metrics: dict[str, float]
    checkpoint: str
    samples: str
    metrics_file: str
    plot: str
    events: str
    sketches: str | None


def train(
    store: ObjectStore,
    dataset: str,
    pairs: str,
    recipe: Recipe,
    refresh: bool = False,
    hooks: Hooks = NO_HOOKS,
    workers: int | None = None,
    sketches: Iterable[NDArray[np.uint8]] = (),
    crew: Crew = ALONE,
) -> TrainedRun:
    """Train a generator, keeping a checkpoint and a sample grid an epoch.

    A run that was interrupted goes on after its last checkpoint, as if nothing had happened; a
    finished one is returned as it is. Its files go to the store by way of an outbox on this
    machine: no step waits for the store.

    Parameters
    ----------
    store : holds the pairs, takes the run.
    dataset, pairs : the pair set to learn from: data set and fingerprint.
    recipe : how.
    refresh : train once more, as a new run beside the finished ones; an unfinished one goes on.
    hooks : how to follow the run, and to stop it.
    workers : processes that read pairs ahead; None for as many as go with the device.
    sketches : drawings by hand, as ``postprocess.normalise_sketch`` takes them; a second grid shows
        what the generator makes of them. They change nothing else.
    crew : the processes that train together; this one alone when left out. Each calls this.

    Raises
    ------
    TrainingStopped
        After ``hooks.should_stop`` said yes and the checkpoint is in the store, or the recipe's
        grace period is over and it is on this machine. Also of a run that has learned all, and
        waits for the store.
    InputError
        If the pair set has no training pair, a loss is no longer finite, or memory runs out.
    NotFoundError
        If the pair set is not published.
    IntegrityError
        If a pair is damaged, a checkpoint is of other networks, or `icanvas gc` has just removed
        the pair set.
    ConflictError
        If `icanvas gc` is removing it, or the run is in training on this machine.
    StorageError
        If in the end the store does not take what there is; it is kept, and pushed by the next try.
    """
    device = choose_device()
    recipe = settle_precision(recipe, device)
    size = recipe.image_size
    training = PairDataset(store, dataset, pairs, "train", size, recipe.min_density)
    validation = PairDataset(store, dataset, pairs, "val", size)
    if not training:
        blank = f" ({training.blank} are next to blank)" if training.blank else ""
        raise InputError(
            f"Pair set {pairs} of {dataset} has no training pair{blank}: see its report."
        )
    extent = cache(lambda: typical_extent(training))
    by_hand = list(sketches)
    # In the process that writes, and only where there is something to be drawn.
    fitted = cache(lambda: [fit_sketch(sketch, extent(), size) for sketch in by_hand])

    def on_trace(done: int, total: int) -> None:
        hooks.on_trace(done, total)
        if hooks.should_stop():
            raise TrainingStopped("the strokes that were traced are kept; no step was taken yet")

    def open_run() -> str:
        name, run = find_run(store, dataset, pairs, recipe, refresh)
        # It tells `icanvas gc` which pairs and checkpoints the run needs.
        keep_facts(run, pairs, recipe, extent)
        check_kept(store, dataset, pairs)
        if recipe.augment:
            keep_strokes(training.stored, training.split, training.found, on_trace)
        return name

    name = crew.lead(open_run)
    run = Run(store, dataset, name)
    # A data set too small to be split shows what it learned from.
    shown = validation if len(validation) else training
    watch = Watch(f"{dataset}, run {name}", shown, fitted if by_hand else None, device)
    keeping = Keeping(recipe.keep_last, recipe.keep_best)
    outbox = Outbox(
        store, dataset, name, keeping, recipe.grace, hooks.should_stop, hooks.on_trouble
    )
    learned = False
    with _stopped(lambda: learned and hooks.should_stop(), hooks), ExitStack() as stack:

        def open_outbox() -> None:
            stack.enter_context(outbox)

        crew.lead(open_outbox)
        memory = stack.enter_context(MemoryWatch(dataset, recipe, device, crew))
        state, metrics = learn(
            Run(outbox, dataset, name),
            training,
            validation,
            recipe,
            device,
            count_workers(device, crew) if workers is None else workers,
            watch,
            hooks,
            crew,
            memory,
        )
        learned = True
    return TrainedRun(
        dataset=dataset,
        run=name,
        pairs=pairs,
        left_out=training.blank,
        epochs=state.epoch,
        steps=state.step,
        metrics=metrics,
        checkpoint=run.location(checkpoint_name(state.epoch)),
        samples=run.location(sample_name(state.epoch)),
        metrics_file=run.location(METRICS),
        plot=run.location(PLOT),
        events=run.location(EVENTS),
        sketches=run.location(sketches_name(state.epoch)) if by_hand else None,
    )


@contextmanager
def _stopped(asked: Callable[[], bool], hooks: Hooks) -> Iterator[None]:
    """Make a stop of what the store does not take in time, where one was asked for."""
    try:
        yield
    except StorageError as left:
        if not asked():
            raise
        hooks.on_trouble(str(left))
        raise TrainingStopped from left
