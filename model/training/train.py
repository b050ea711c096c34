"""A run from its pairs to its last checkpoint."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from config.errors import InputError, StorageError
from config.recipe import Recipe
from model.data.dataset import PairDataset, choose_num_workers
from model.data.stroke_cache import cache_strokes
from model.device import choose_device, resolve_precision
from model.training.artifacts import METRICS_FILE, PLOT_FILE, RunArtifacts
from model.training.callbacks import NO_CALLBACKS, TrainingCallbacks, TrainingStopped
from model.training.distributed import SINGLE_PROCESS, DistributedContext
from model.training.loop import train_loop
from model.training.memory import OomGuard
from model.training.resume import find_run, write_metadata
from model.training.samples import compute_median_extent, prepare_sketch
from model.training.tensorboard import EVENTS_FOLDER
from storage import ObjectStore
from storage.gc_policy import CheckpointRetention
from storage.pins import ensure_pinned
from storage.runs import Run, checkpoint_name, sample_name, sketches_name
from storage.uploads import AsyncUploader


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
    num_blank: int
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
    force: bool = False,
    callbacks: TrainingCallbacks = NO_CALLBACKS,
    num_workers: int | None = None,
    sketches: Iterable[NDArray[np.uint8]] = (),
    context: DistributedContext = SINGLE_PROCESS,
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
    sketches : drawings by hand, as ``postprocess.normalize_sketch`` takes them; a second grid shows
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
    recipe = resolve_precision(recipe, device)
    size = recipe.image_size
    training = PairDataset(store, dataset, pairs, "train", size, recipe.min_density)
    validation = PairDataset(store, dataset, pairs, "val", size)
    if not training:
        blank_note = f" ({training.num_blank} are next to blank)" if training.num_blank else ""
        raise InputError(
            f"Pair set {pairs} of {dataset} has no training pair{blank_note}: see its report."
        )
    extent = cache(lambda: compute_median_extent(training))
    sketch_list = list(sketches)
    # In the process that writes, and only where there is something to be drawn.
    normalized_sketches = cache(
        lambda: [prepare_sketch(sketch, extent(), size) for sketch in sketch_list]
    )

    def on_tracing(done: int, total: int) -> None:
        callbacks.on_tracing(done, total)
        if callbacks.should_stop():
            raise TrainingStopped("the strokes that were traced are kept; no step was taken yet")

    def prepare_run() -> str:
        name, run = find_run(store, dataset, pairs, recipe, force)
        # It tells `icanvas gc` which pairs and checkpoints the run needs.
        write_metadata(run, pairs, recipe, extent)
        ensure_pinned(store, dataset, pairs)
        if recipe.augment:
            cache_strokes(training.reader, training.split, training.records, on_tracing)
        return name

    name = context.run_on_main(prepare_run)
    run = Run(store, dataset, name)
    # A data set too small to be split shows what it learned from.
    sample_pairs = validation if len(validation) else training
    artifacts = RunArtifacts(
        f"{dataset}, run {name}", sample_pairs, normalized_sketches if sketch_list else None, device
    )
    retention = CheckpointRetention(recipe.keep_last, recipe.keep_best)
    uploader = AsyncUploader(
        store,
        dataset,
        name,
        retention,
        recipe.shutdown_grace_s,
        callbacks.should_stop,
        callbacks.on_upload_error,
    )
    is_trained = False
    with (
        _stop_on_upload_timeout(lambda: is_trained and callbacks.should_stop(), callbacks),
        ExitStack() as stack,
    ):

        def open_uploader() -> None:
            stack.enter_context(uploader)

        context.run_on_main(open_uploader)
        oom_guard = stack.enter_context(OomGuard(dataset, recipe, device, context))
        state, metrics = train_loop(
            Run(uploader, dataset, name),
            training,
            validation,
            recipe,
            device,
            choose_num_workers(device, context) if num_workers is None else num_workers,
            artifacts,
            callbacks,
            context,
            oom_guard,
        )
        is_trained = True
    return TrainedRun(
        dataset=dataset,
        run=name,
        pairs=pairs,
        num_blank=training.num_blank,
        epochs=state.epoch,
        steps=state.step,
        metrics=metrics,
        checkpoint=run.location(checkpoint_name(state.epoch)),
        samples=run.location(sample_name(state.epoch)),
        metrics_file=run.location(METRICS_FILE),
        plot=run.location(PLOT_FILE),
        events=run.location(EVENTS_FOLDER),
        sketches=run.location(sketches_name(state.epoch)) if sketch_list else None,
    )


@contextmanager
def _stop_on_upload_timeout(
    should_stop: Callable[[], bool], callbacks: TrainingCallbacks
) -> Iterator[None]:
    """Make a stop of what the store does not take in time, where one was asked for."""
    try:
        yield
    except StorageError as left:
        if not should_stop():
            raise
        callbacks.on_upload_error(str(left))
        raise TrainingStopped from left
