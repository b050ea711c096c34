"""The task that trains a generator, and ends such that the run can go on."""

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
from model.training.artifacts import PLOT
from model.training.callbacks import Hooks, TrainingStopped
from model.training.launch import Order, count_processes, train_together
from model.training.train import TrainedRun
from model.training.train import train as train_alone
from reports.pair_set_report import inline_jpeg
from storage import ObjectStore, open_store
from storage.runs import Run, sample_name, sketches_name
from tasks.artifacts import link, show
from tasks.progress import bar, move, note

Result = TypeVar("Result")

# Of a line of metrics.jsonl, what is no figure.
_WHEN = {"epoch", "step", "lr"}


@task(task_run_name="train {dataset} on {pairs}", cache_policy=NO_CACHE)
def train(
    dataset: str,
    pairs: str,
    recipe: Recipe,
    store_url: str,
    refresh: bool,
    sketches: Sequence[NDArray[np.uint8]] = (),
) -> TrainedRun:
    """Train on a published pair set; see ``model.training.train``.

    In this process, or in as many children as ``ICANVAS_PROCESSES`` says. SIGTERM and Ctrl-C end it
    after the step, with a checkpoint from which the next run goes on.
    """
    logger = get_run_logger()
    store = open_store(store_url)
    steps = f"{dataset}: train"

    def log_epoch(epoch: int, metrics: dict[str, float]) -> None:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        logger.info("%s: epoch %d of %d, %s", dataset, epoch, recipe.epochs, figures)

    def log_line(line: dict[str, float]) -> None:
        figures = ", ".join(f"{k} {v:.4f}" for k, v in line.items() if k not in _WHEN)
        logger.info("%s: epoch %d, step %d, %s", dataset, line["epoch"], line["step"], figures)

    def log_traced(done: int, total: int) -> None:
        # Once a pair set, and then in seconds to minutes.
        logger.info("%s: %d of %d drawings traced to strokes", dataset, done, total)

    def tell_trouble(what: str) -> None:
        if what:
            logger.warning("%s: %s", dataset, what)
        note(steps, what and "the store does not take its files, see the log; it is tried again")

    count = count_processes(get_settings().processes, recipe.batch)
    learn: Callable[..., TrainedRun] = partial(train_alone, store, dataset, pairs, recipe, refresh)
    if count > 1:
        order = Order(store=store.url, dataset=dataset, pairs=pairs, recipe=recipe, refresh=refresh)
        learn = partial(train_together, count, order, on_log=logger.info)

    def learn_until(should_stop: Callable[[], bool]) -> TrainedRun:
        hooks = Hooks(
            on_trace=log_traced,
            on_step=lambda done, total: move(steps, done, total),
            on_line=log_line,
            on_epoch=log_epoch,
            on_trouble=tell_trouble,
            should_stop=should_stop,
        )
        try:
            return learn(hooks=hooks, sketches=sketches)
        except TrainingStopped as stopped:
            logger.warning("stopped; %s", stopped)
            raise

    with bar(steps, unit="steps"):
        run = stop_on_signals(learn_until)
    show(
        key=f"run-{dataset}",
        description=f"Run {run.run} of {dataset}",
        markdown=describe(run, Run(store, dataset, run.run), store),
    )
    return run


def describe(trained: TrainedRun, run: Run, store: ObjectStore) -> str:
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
    lines += ["", "| `promote` takes | val_l1 | checkpoint |", "|---|---|---|"]
    for record in run.checkpoints():
        figure = record.metrics.get("val_l1")
        told = "–" if figure is None else f"{figure:.4f}"
        place = link(store, run.key(record.name))
        lines.append(f"| `{trained.run}/{record.epoch}` | {told} | {place} |")
    lines += ["", f"All steps in TensorBoard: `tensorboard --logdir '{trained.events}'`"]
    return "\n".join(lines)


def stop_on_signals(learn: Callable[[Callable[[], bool]], Result]) -> Result:
    """Train in a thread beside the main one, which SIGTERM and Ctrl-C interrupt.

    They take their course when training has stopped. No handler of ours is needed for that, and
    with one in the place of Prefect's a cancelled run would be marked crashed first: it takes a
    worker's word that it is cancelled only while SIGTERM is its own. A second signal is not held
    back. Outside the main thread, where signals do not arrive, there is no thread beside it.

    Parameters
    ----------
    learn : gets what tells whether a signal came. After one it raises TrainingStopped, or another
        error, which then goes before the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        return learn(lambda: False)
    asked, ended = threading.Event(), threading.Event()
    results: list[Result] = []
    errors: list[BaseException] = []
    # With the run that Prefect knows by its context.
    context = contextvars.copy_context()

    def work() -> None:
        try:
            results.append(context.run(learn, asked.is_set))
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    beside = threading.Thread(target=work, name="train", daemon=True)
    try:
        beside.start()
        # Not by joining it: a join that is interrupted takes the thread for ended.
        ended.wait()
    except BaseException:
        asked.set()
        if beside.ident is not None:
            ended.wait()
        if errors and not isinstance(errors[0], TrainingStopped):
            raise errors[0] from None
        raise
    if errors:
        raise errors[0]
    return results[0]
