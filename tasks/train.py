"""The task that trains a generator, and ends such that the run can go on."""

import base64
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType

import numpy as np
from numpy.typing import NDArray
from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

import model
from model import Hooks, Recipe, TrainedRun, TrainingStopped
from model.launch import Order, count_processes, train_together
from model.watch import PLOT
from settings import get_settings
from storage import open_store
from storage.registry import Run, sample_name, sketches_name
from tasks.progress import bar, move, note
from tasks.report import inline_jpeg


@task(task_run_name="train {dataset} on {pairs}", cache_policy=NO_CACHE)
def train(
    dataset: str,
    pairs: str,
    recipe: Recipe,
    store_url: str,
    refresh: bool,
    sketches: Sequence[NDArray[np.uint8]] = (),
) -> TrainedRun:
    """Train on a published pair set; see ``model.train``.

    In this process, or in as many children as ``ICANVAS_PROCESSES`` says. SIGTERM and Ctrl-C end it
    after the step, with a checkpoint from which the next run goes on.
    """
    logger = get_run_logger()
    store = open_store(store_url)
    steps = f"{dataset}: train"

    def log_epoch(epoch: int, metrics: dict[str, float]) -> None:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        logger.info("%s: epoch %d of %d, %s", dataset, epoch, recipe.epochs, figures)

    def log_traced(done: int, total: int) -> None:
        # Once a pair set, and then in seconds to minutes.
        logger.info("%s: %d of %d drawings traced to strokes", dataset, done, total)

    def tell_trouble(what: str) -> None:
        if what:
            logger.warning("%s: %s", dataset, what)
        note(steps, what and "the store does not take its files, see the log; it is tried again")

    count = count_processes(get_settings().processes, recipe.batch)
    learn: Callable[..., TrainedRun] = partial(model.train, store, dataset, pairs, recipe, refresh)
    if count > 1:
        order = Order(store=store.url, dataset=dataset, pairs=pairs, recipe=recipe, refresh=refresh)
        learn = partial(train_together, count, order, on_log=logger.info)
    with bar(steps, unit="steps"), stop_on_signals() as should_stop:
        hooks = Hooks(
            on_trace=log_traced,
            on_step=lambda done, total: move(steps, done, total),
            on_epoch=log_epoch,
            on_trouble=tell_trouble,
            should_stop=should_stop,
        )
        run = learn(hooks=hooks, sketches=sketches)
    create_markdown_artifact(
        key=f"run-{dataset}",
        description=f"Run {run.run} of {dataset}",
        markdown=describe(run, Run(store, dataset, run.run)),
    )
    return run


def describe(trained: TrainedRun, run: Run) -> str:
    """Return what a run gave as Markdown, with its pictures in it."""
    epoch = trained.epochs
    lines = [f"| | after epoch {epoch} |", "|---|---|"]
    lines += [f"| {name} | {value:.4f} |" for name, value in trained.metrics.items()]
    shown = {"Drawing, generated, target:": sample_name(epoch)}
    if trained.sketches is not None:
        shown["Drawings by hand, and what is generated from them:"] = sketches_name(epoch)
    for title, name in shown.items():
        grid = inline_jpeg(run.get(name) or b"", width=900)
        lines += ["", title, "", f"![{name}]({grid})"]
    plot = base64.b64encode(run.get(PLOT) or b"").decode()
    lines += ["", f"![losses](data:image/png;base64,{plot})"]
    lines += ["", f"Checkpoint: `{trained.checkpoint}`"]
    lines += ["", f"All steps in TensorBoard: `tensorboard --logdir '{trained.events}'`"]
    return "\n".join(lines)


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Let SIGTERM and Ctrl-C wait, for the time of the block, until training has stopped.

    The block gets what tells whether one came. It is then delivered as if it came now: Prefect
    sees a cancelled or crashed run, a person the usual end. A second one is not held back.
    Outside the main thread, where Python allows no handlers, signals are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[int] = []
    before = {
        number: handler
        for number in (signal.SIGTERM, signal.SIGINT)
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def hold(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        restore()

    for number in before:
        signal.signal(number, hold)
    try:
        yield lambda: bool(came)
    except TrainingStopped:
        get_run_logger().warning("stopped; a checkpoint is kept, and the same run goes on from it")
    finally:
        restore()
    if came:
        signal.raise_signal(came[0])
