"""The training loop, from the first step to the last checkpoint."""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import l1_loss

from errors import InputError
from model.checkpoint import TrainingState, save_state
from model.data import PairDataset, RunSampler, count_workers, make_loader
from model.device import choose_device, settle_precision, should_compile
from model.distributed import ALONE, Crew
from model.events import EVENTS
from model.generator import Generator
from model.memory import MemoryWatch
from model.progress import EpochProgress
from model.recipe import Recipe
from model.runs import describe_run, find_run, keep_file, take_up
from model.samples import fit_sketch, typical_extent
from model.step import call_networks, set_lr, train_step
from model.strokes import keep_strokes
from model.watch import GROWING, METRICS, PLOT, Watch
from storage import ObjectStore
from storage.claims import check_kept
from storage.outbox import Outbox
from storage.registry import Run, checkpoint_name, sample_name, sketches_name
from storage.retention import Rules

_MOST_VALIDATION_PAIRS = 200

_CALMER = "Try a lower lr, a lower lambda_l1, or precision=f32."

OnStep = Callable[[int, int], None]
OnEpoch = Callable[[int, dict[str, float]], None]


class TrainingStopped(Exception):
    """Training was asked to stop; what it had done is in a checkpoint."""


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
    on_step: OnStep = lambda *_: None,
    on_trace: OnStep = lambda *_: None,
    on_epoch: OnEpoch = lambda *_: None,
    workers: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_trouble: Callable[[str], None] = lambda _: None,
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
    on_step : called with (steps done, steps in all).
    on_trace : called with (drawings done, drawings in all) while these are traced to strokes, which
        augmentation needs.
    on_epoch : called with (epochs done, the epoch's figures).
    workers : processes that read pairs ahead; None for as many as go with the device.
    should_stop : asked after each step and each validation picture; at yes an interim checkpoint
        is kept. Where several processes train together, one that says yes stops all.
    on_trouble : called, from another thread, with what keeps files from the store, and with nothing
        when it is over.
    sketches : drawings by hand, as ``postprocess.normalise_sketch`` takes them; a second grid shows
        what the generator makes of them. They change nothing else.
    crew : the processes that train together; this one alone when left out. Each calls this.

    Raises
    ------
    TrainingStopped
        After ``should_stop`` said yes and the checkpoint is in the store, or the recipe's grace
        period is over and it is on this machine.
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

    def open_run() -> str:
        name, run = find_run(store, dataset, pairs, recipe, refresh)
        # It tells what a run began with, and `icanvas gc` which pairs it needs.
        keep_file(run, "recipe.json", lambda: describe_run(pairs, recipe, extent()))
        check_kept(store, dataset, pairs)
        if recipe.augment:
            keep_strokes(training.stored, training.found, on_trace)
        return name

    name = crew.lead(open_run)
    run = Run(store, dataset, name)
    fitted = [fit_sketch(sketch, extent(), size) for sketch in sketches]
    # A data set too small to be split shows what it learned from.
    shown = validation if len(validation) else training
    watch = Watch(f"{dataset}, run {name}", shown, fitted, device)
    rules = Rules(keep_checkpoints=recipe.keep_last, keep_best=recipe.keep_best)
    outbox = Outbox(store, dataset, name, rules, recipe.grace, on_trouble)
    with ExitStack() as stack:

        def open_outbox() -> None:
            stack.enter_context(outbox)

        crew.lead(open_outbox)
        state, metrics = _learn(
            Run(outbox, dataset, name),
            training,
            validation,
            recipe,
            device,
            count_workers(device, crew) if workers is None else workers,
            watch,
            on_step,
            on_epoch,
            should_stop,
            crew,
        )
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
        sketches=run.location(sketches_name(state.epoch)) if fitted else None,
    )


def _learn(
    run: Run,
    training: PairDataset,
    validation: PairDataset,
    recipe: Recipe,
    device: torch.device,
    workers: int,
    watch: Watch,
    on_step: OnStep,
    on_epoch: OnEpoch,
    should_stop: Callable[[], bool],
    crew: Crew,
) -> tuple[TrainingState, dict[str, float]]:
    """Go on with a run to its end; return what it ends with, and its last epoch's figures.

    The run's files are the first process's alone.
    """
    state, metrics = take_up(run, recipe, device, crew)
    sampler = RunSampler(len(training), recipe, state.epoch, state.progress.batches, crew)
    batches, total = sampler.batches, recipe.epochs * sampler.batches
    networks = call_networks(state, should_compile(recipe, device, total), crew)
    # A finished run starts no workers.
    loader = make_loader(training, recipe, sampler, device, workers if len(sampler) else 0)
    stream = iter(loader)
    memory = MemoryWatch(run.dataset, recipe, device, crew)

    def stop_if(asked: bool) -> None:
        if asked:
            data = save_state(state, recipe)
            run.put_checkpoint(state.epoch, state.step, data, {}, state.progress.batches)
            raise TrainingStopped

    def check() -> float:
        return validate(state.drawing, validation, device, lambda: stop_if(should_stop()))

    def mend() -> None:
        # What the store has lost, or another machine's outbox has put back to an earlier state.
        for file, make in watch.files(state, True).items():
            run.put(file, make()) if file in GROWING else keep_file(run, file, make)

    def keep() -> None:
        checkpoint = state.epoch % recipe.checkpoint_every == 0 or state.epoch == recipe.epochs
        for file, make in watch.files(state, checkpoint).items():
            run.put(file, make())
        if checkpoint:
            run.put_checkpoint(state.epoch, state.step, save_state(state, recipe), metrics)

    if state.epoch and not state.progress.batches:
        crew.lead(mend)
    on_step(state.step, total)
    while state.epoch < recipe.epochs:
        while state.progress.batches < batches:
            condition, target = (part.to(device, non_blocking=True) for part in next(stream))
            lr = set_lr(state, recipe, total)
            share = sampler.share(state.progress.batches)
            with memory:
                figures = train_step(state, networks, condition, target, recipe, share)
            check_finite(figures, run.dataset, state.step)
            last = state.progress.batches == batches - 1
            state.progress.add(figures, lr, state.epoch + 1, state.step, last)
            on_step(state.step, total)
            if crew.any(should_stop()):
                crew.lead(lambda: stop_if(True))
        metrics = state.progress.means()
        if metrics["skipped"] == batches:
            raise InputError(
                f"{run.dataset}: no step of epoch {state.epoch + 1} had a finite gradient; "
                f"training stopped with the last checkpoint kept. {_CALMER}"
            )
        if len(validation):
            metrics["val_l1"] = crew.lead(check)
            check_finite(metrics, run.dataset, state.step)
        state.log += state.progress.lines
        state.epoch, state.progress = state.epoch + 1, EpochProgress()
        if len(validation):
            line = {"epoch": state.epoch, "step": state.step, "val_l1": metrics["val_l1"]}
            state.log.append(line)
        crew.lead(keep)
        on_epoch(state.epoch, metrics)
    return state, metrics


def check_finite(figures: Mapping[str, float], dataset: str, step: int) -> None:
    """Raise InputError where a loss or a metric is no number any more: nothing is learned then."""
    for name, value in figures.items():
        if not math.isfinite(value):
            raise InputError(
                f"{dataset}: {name} is {value} at step {step}; training stopped with the last "
                f"checkpoint kept. {_CALMER}"
            )


@torch.no_grad()
def validate(
    generator: Generator,
    pairs: PairDataset,
    device: torch.device,
    on_picture: Callable[[], None] = lambda: None,
) -> float:
    """Return the generator's mean L1 over (at most 200 of) the pairs, pictures in [-1, 1].

    ``on_picture`` is called before each; what it raises passes through.
    """
    count = min(len(pairs), _MOST_VALIDATION_PAIRS)
    total = 0.0
    for index in range(count):
        on_picture()
        condition, target = pairs[index]
        generated = generator(condition.unsqueeze(0).to(device))[0]
        total += l1_loss(generated.cpu(), target).item()
    return total / count
