"""The task that trains a generator, and stops it so that the run can be resumed."""

import base64
import contextvars
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from config.recipe import Recipe
from config.settings import get_settings
from model.training.artifacts import PLOT_FILE
from model.training.callbacks import TrainingCallbacks, TrainingStopped
from model.training.launch import WorkerConfig, count_processes, launch_distributed
from model.training.train import TrainedRun
from model.training.train import train as train_alone
from reports.pair_set_report import inline_jpeg
from storage import ObjectStore, open_store
from storage.runs import Run, sample_name, sketches_name
from tasks.artifacts import create_artifact, render_link
from tasks.progress import progress_bar, set_progress, set_status

Result = TypeVar("Result")

# Keys of a line of metrics.jsonl that are no metrics.
_NON_METRIC_KEYS = {"epoch", "step", "lr"}


@task(task_run_name="train {dataset} on {pairs}", cache_policy=NO_CACHE)
def train(
    dataset: str,
    pairs: str,
    recipe: Recipe,
    store_url: str,
    force: bool,
    sketches: Sequence[NDArray[np.uint8]] = (),
) -> TrainedRun:
    """Train on a published pair set; see ``model.training.train``.

    Training runs in this process, or in ``ICANVAS_PROCESSES`` child processes. SIGTERM and Ctrl-C
    stop it after the current step, with a checkpoint from which the next run resumes.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    pairs : str
        Fingerprint of its pair set.
    recipe : Recipe
        Complete recipe.
    store_url : str
        URL of the store.
    force : bool
        Start a new run even if one with this recipe is finished.
    sketches : sequence of ndarray of uint8, shape (H, W, 3)
        Hand-drawn sketches, for samples after each epoch.

    Returns
    -------
    TrainedRun

    Raises
    ------
    TrainingStopped
        If a signal stopped the training.
    """
    logger = get_run_logger()
    store = open_store(store_url)
    bar_name = f"{dataset}: train"

    def log_epoch(epoch: int, metrics: dict[str, float]) -> None:
        values = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        logger.info("%s: epoch %d of %d, %s", dataset, epoch, recipe.epochs, values)

    def log_metrics(line: dict[str, float]) -> None:
        values = ", ".join(f"{k} {v:.4f}" for k, v in line.items() if k not in _NON_METRIC_KEYS)
        logger.info("%s: epoch %d, step %d, %s", dataset, line["epoch"], line["step"], values)

    def log_tracing(done: int, total: int) -> None:
        # Happens once per pair set and takes seconds to minutes.
        logger.info("%s: traced %d of %d drawings to strokes", dataset, done, total)

    def log_upload_error(message: str) -> None:
        if message:
            logger.warning("%s: %s", dataset, message)
        set_status(bar_name, message and "uploads fail and are retried, see the log")

    num_processes = count_processes(get_settings().processes, recipe.batch)
    run_training: Callable[..., TrainedRun] = partial(
        train_alone, store, dataset, pairs, recipe, force
    )
    if num_processes > 1:
        config = WorkerConfig(
            store=store.url, dataset=dataset, pairs=pairs, recipe=recipe, force=force
        )
        run_training = partial(launch_distributed, num_processes, config, on_output=logger.info)

    def train_until(should_stop: Callable[[], bool]) -> TrainedRun:
        callbacks = TrainingCallbacks(
            on_tracing=log_tracing,
            on_step=lambda done, total: set_progress(bar_name, done, total),
            on_log=log_metrics,
            on_epoch=log_epoch,
            on_upload_error=log_upload_error,
            should_stop=should_stop,
        )
        try:
            return run_training(callbacks=callbacks, sketches=sketches)
        except TrainingStopped as stopped:
            logger.warning("Training stopped: %s", stopped)
            raise

    with progress_bar(bar_name, unit="steps"):
        run = run_until_signal(train_until)
    create_artifact(
        key=f"run-{dataset}",
        description=f"Run {run.run} of {dataset}",
        markdown=render_artifact(run, Run(store, dataset, run.run), store),
    )
    return run


def render_artifact(trained: TrainedRun, run: Run, store: ObjectStore) -> str:
    """Return the results of a run as Markdown.

    Parameters
    ----------
    trained : TrainedRun
        Result of the training.
    run : Run
        Its files.
    store : ObjectStore
        Store that the links lead to.

    Returns
    -------
    str
        Metrics, sample grids, plot and the list of checkpoints.
    """
    epoch = trained.epochs
    lines = [f"| | after epoch {epoch} |", "|---|---|"]
    lines += [f"| {name} | {value:.4f} |" for name, value in trained.metrics.items()]
    grids = {"Drawing, generated, target:": sample_name(epoch)}
    if trained.sketches is not None:
        grids["Hand-drawn sketches and the pictures generated from them:"] = sketches_name(epoch)
    for title, name in grids.items():
        grid = inline_jpeg(run.get(name) or b"", width=900)
        lines += ["", title, "", f"![{name}]({grid})"]
    plot = base64.b64encode(run.get(PLOT_FILE) or b"").decode()
    lines += ["", f"![losses](data:image/png;base64,{plot})"]
    lines += ["", "| checkpoint for `promote` | val_l1 | file |", "|---|---|---|"]
    for record in run.list_checkpoints():
        val_l1 = record.metrics.get("val_l1")
        value = "–" if val_l1 is None else f"{val_l1:.4f}"
        checkpoint_link = render_link(store, run.key(record.name))
        lines.append(f"| `{trained.run}/{record.epoch}` | {value} | {checkpoint_link} |")
    lines += ["", f"All steps in TensorBoard: `tensorboard --logdir '{trained.events}'`"]
    return "\n".join(lines)


def run_until_signal(run_training: Callable[[Callable[[], bool]], Result]) -> Result:
    """Run a training in a thread, while the main thread waits for SIGTERM and Ctrl-C.

    A signal is raised in the main thread once the training has stopped. It needs no handler of
    ours: Prefect marks a run as canceled only while Prefect's own SIGTERM handler is installed. A
    second signal is not delayed. Outside of the main thread, where no signals arrive, the training
    runs in the calling thread.

    Parameters
    ----------
    run_training : callable
        Gets a function that returns whether a signal arrived. After a signal it raises
        `TrainingStopped`, or another error, which then replaces the signal.

    Returns
    -------
    object
        Result of `run_training`.
    """
    if threading.current_thread() is not threading.main_thread():
        return run_training(lambda: False)
    stop_requested, finished = threading.Event(), threading.Event()
    results: list[Result] = []
    errors: list[BaseException] = []
    # Prefect keeps the current run in the context.
    context = contextvars.copy_context()

    def target() -> None:
        try:
            results.append(context.run(run_training, stop_requested.is_set))
        except BaseException as error:
            errors.append(error)
        finally:
            finished.set()

    thread = threading.Thread(target=target, name="train", daemon=True)
    try:
        thread.start()
        # Not join(): an interrupted join marks the thread as ended.
        finished.wait()
    except BaseException:
        stop_requested.set()
        if thread.ident is not None:
            finished.wait()
        if errors and not isinstance(errors[0], TrainingStopped):
            raise errors[0] from None
        raise
    if errors:
        raise errors[0]
    return results[0]
