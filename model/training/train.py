"""Training of a generator, from the pair set to the last checkpoint."""

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
    """Summary of a finished run.

    Attributes
    ----------
    dataset : str
        Name of the data set.
    run : str
        Name of the run.
    pairs : str
        Fingerprint of the pair set.
    num_blank : int
        Training pairs that were skipped because their drawing is nearly blank.
    epochs, steps : int
        Completed in total.
    metrics : dict of str to float
        Means over the last epoch.
    checkpoint, samples, metrics_file, plot : str
        Locations of the last checkpoint, the last sample grid, metrics.jsonl and the loss plot.
    events : str
        Location of the folder of TensorBoard's event files.
    sketches : str or None
        Location of the last grid of sketches; None where the data set has no sketches.
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
    """Train a generator, or resume an interrupted run.

    A run is named after its pair set and its recipe. An interrupted run is resumed from its last
    checkpoint and ends with the same result as an uninterrupted one; a finished run is returned as
    it is. The run's files are written to local disk and uploaded in the background, so that no step
    waits for the store.

    Parameters
    ----------
    store : ObjectStore
        Holds the pair set, and the run's files.
    dataset : str
        Name of the data set.
    pairs : str
        Fingerprint of the pair set.
    recipe : Recipe
        Options of the run.
    force : bool, default False
        Train again where the run is finished, as a new run. An unfinished run is resumed.
    callbacks : TrainingCallbacks, optional
        Report progress, and stop the run.
    num_workers : int, optional
        Loader processes; by default as many as suit the device.
    sketches : iterable of ndarray, optional
        Hand-drawn sketches, as ``postprocess.normalize_sketch`` accepts them. A second grid shows
        the pictures generated from them. They change nothing else.
    context : DistributedContext, optional
        The processes that train together; each calls this function. By default this one alone.

    Returns
    -------
    TrainedRun

    Raises
    ------
    TrainingStopped
        If ``callbacks.should_stop`` returned True. The last checkpoint is in the store or, if the
        recipe's grace period was over before, on this machine. Also raised after the last step, if
        the uploads did not end within the grace period.
    InputError
        If the pair set has no training pair, a loss is not finite, or memory runs out.
    NotFoundError
        If the pair set is not published.
    IntegrityError
        If a pair is damaged, a checkpoint does not fit the recipe's networks, or `icanvas gc` has
        just deleted the pair set.
    ConflictError
        If `icanvas gc` is deleting the pair set, or another process on this machine trains the run.
    StorageError
        If the files cannot be uploaded in the end. They stay on this machine, and the next call
        uploads them.
    """
    device = choose_device()
    recipe = resolve_precision(recipe, device)
    size = recipe.image_size
    training = PairDataset(store, dataset, pairs, "train", size, recipe.min_density)
    validation = PairDataset(store, dataset, pairs, "val", size)
    if not training:
        blank_note = f" ({training.num_blank} are nearly blank)" if training.num_blank else ""
        raise InputError(
            f"Pair set {pairs} of {dataset} has no training pair{blank_note}. See its report."
        )
    extent = cache(lambda: compute_median_extent(training))
    sketch_list = list(sketches)
    # Lazy: needed by the main process only, and only where a grid of sketches is missing.
    normalized_sketches = cache(
        lambda: [prepare_sketch(sketch, extent(), size) for sketch in sketch_list]
    )

    def on_tracing(done: int, total: int) -> None:
        callbacks.on_tracing(done, total)
        if callbacks.should_stop():
            raise TrainingStopped("no step was taken yet, the traced strokes are stored")

    def prepare_run() -> str:
        name, run = find_run(store, dataset, pairs, recipe, force)
        # `icanvas gc` reads which pairs and checkpoints the run needs.
        write_metadata(run, pairs, recipe, extent)
        ensure_pinned(store, dataset, pairs)
        if recipe.augment:
            cache_strokes(training.reader, training.split, training.records, on_tracing)
        return name

    name = context.run_on_main(prepare_run)
    run = Run(store, dataset, name)
    # A data set that is too small for a validation split has samples of training pairs.
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
    """Raise TrainingStopped in place of a StorageError if a stop was requested."""
    try:
        yield
    except StorageError as error:
        if not should_stop():
            raise
        callbacks.on_upload_error(str(error))
        raise TrainingStopped from error
