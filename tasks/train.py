"""The task that trains a generator. After a signal it stops, and the next run resumes."""

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

# Keys in the lines of metrics.jsonl that are not metrics.
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
    stop it after the current step. It then saves a checkpoint from which the next run resumes.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    pairs : str
        Fingerprint of its pair set.
    recipe : Recipe
        Complete recipe of the run.
    store_url : str
        URL of the store.
    force : bool
        Start a new run even if a run with this recipe is finished.
    sketches : sequence of ndarray of uint8, shape (H, W, 3), optional
        Hand-drawn sketches for the sample grids.

    Returns
    -------
    TrainedRun
        Result of the training.

    Raises
    ------
    TrainingStopped
        If the training stopped before its end, or its uploads did not finish.
    InputError
        If the pair set has no training pairs, a loss is not finite, or memory is exhausted.
    NotFoundError
        If the pair set is not published.
    IntegrityError
        If a pair is corrupt, or a checkpoint does not match the networks of the recipe.
    ConflictError
        If `icanvas gc` is deleting the pair set, or another process trains the same run.
    StorageError
        If files cannot be uploaded. The next run uploads them.
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
        # Tracing happens once per pair set and takes seconds to minutes.
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
    """Render the results of a run as Markdown.

    Parameters
    ----------
    trained : TrainedRun
        Result of the training.
    run : Run
        Stored files of the run.
    store : ObjectStore
        Store that contains the linked files.

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
    """Run a training in a thread while the main thread waits for SIGTERM and Ctrl-C.

    After a signal, this function waits until the training has stopped, and then raises the signal's
    exception in the main thread. A second signal is raised immediately. The function installs no
    signal handler, because Prefect marks a run as canceled only if Prefect's own SIGTERM handler is
    installed. Outside of the main thread no signals arrive, and the training runs in the calling
    thread.

    Parameters
    ----------
    run_training : callable
        Function that trains. Its argument is a function that returns True after a signal. It must
        then raise `TrainingStopped`. Any other error replaces the exception of the signal.

    Returns
    -------
    object
        Result of `run_training`.

    Raises
    ------
    KeyboardInterrupt
        If Ctrl-C stopped the training.
    TerminationSignal
        If SIGTERM stopped the training in a Prefect run.
    """
    if threading.current_thread() is not threading.main_thread():
        return run_training(lambda: False)
    stop_requested, finished = threading.Event(), threading.Event()
    results: list[Result] = []
    errors: list[BaseException] = []
    # Prefect stores the current run in context variables.
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
        # Not thread.join(): an interrupted join marks the thread as finished.
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
