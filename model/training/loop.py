"""The training loop: read it top to bottom."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn

import torch
from torch.nn.functional import l1_loss

from config.errors import IcanvasError, InputError, StorageError
from config.recipe import Recipe
from model.data.dataset import PairDataset, RunSampler, Sample, make_loader, to_floats
from model.device import should_compile
from model.networks.generator import Generator
from model.training.artifacts import GROWING, Watch
from model.training.callbacks import Hooks, TrainingStopped
from model.training.checkpoint import TrainingState, save_state
from model.training.distributed import Crew
from model.training.memory import MemoryWatch
from model.training.progress import EpochProgress
from model.training.resume import keep_file, take_up
from model.training.step import call_networks, set_lr, train_step
from storage.runs import Run

_MOST_VALIDATION_PAIRS = 200

# Seconds from one look into a long epoch to the next.
_LOOK_EVERY = 60.0

_CALMER = "Try a lower lr, a lower lambda_l1, or precision=f32; that is a run of its own."


def learn(
    run: Run,
    training: PairDataset,
    validation: PairDataset,
    recipe: Recipe,
    device: torch.device,
    workers: int,
    watch: Watch,
    hooks: Hooks,
    crew: Crew,
    memory: MemoryWatch,
) -> tuple[TrainingState, dict[str, float]]:
    """Go on with a run to its end; return what it ends with, and its last epoch's figures.

    Parameters
    ----------
    run : takes the files, of which those of the first process of a crew alone are written.
    training, validation : pairs to learn from, and to be measured on.
    recipe : with a settled precision.
    device, workers : where steps are taken, and how many processes read pairs ahead.
    watch : makes what a person looks at.
    hooks, crew : as of ``model.training.train``, and so are the errors.
    memory : is told of the steps.
    """
    state, metrics = take_up(run, recipe, device, crew)
    sampler = RunSampler(len(training), recipe, state.epoch, state.progress.batches, crew)
    batches, total = sampler.batches, recipe.epochs * sampler.batches
    memory.compiled = should_compile(recipe, device, total)
    networks = call_networks(state, memory.compiled, crew)
    # A finished run starts no workers.
    loader = make_loader(training, recipe, sampler, device, workers if len(sampler) else 0)
    stream = iter(loader)

    def keep_interim() -> None:
        data = save_state(state, recipe)
        run.put_checkpoint(state.epoch, state.step, data, {}, state.progress.batches)

    def stop_if(asked: bool) -> None:
        if asked:
            keep_interim()
            raise TrainingStopped

    def check() -> float:
        return validate(state.drawing, validation, device, lambda: stop_if(hooks.should_stop()))

    def mend() -> None:
        # What the store has lost, or another machine's outbox has put back to an earlier state.
        for file, make in watch.files(state, True).items():
            run.put(file, make()) if file in GROWING else keep_file(run, file, make)

    def has_checkpoint() -> bool:
        return state.epoch % recipe.checkpoint_every == 0 or state.epoch == recipe.epochs

    def keep() -> None:
        if has_checkpoint():
            # First: what else there is follows from it, and is made again where it is missing.
            run.put_checkpoint(state.epoch, state.step, save_state(state, recipe), metrics)
        for file, make in watch.files(state, has_checkpoint()).items():
            run.put(file, make())

    def show_progress() -> None:
        for file, make in watch.growing(state).items():
            run.put(file, make())
        for line in state.progress.lines[-1:]:
            hooks.on_line(line)

    def give_up(what: str) -> NoReturn:
        def leave() -> bool:
            show_progress()
            return any(run.all_checkpoints())

        kept = "with the last checkpoint kept" if crew.lead(leave) else "before any checkpoint"
        raise InputError(f"{run.dataset}: {what}; training stopped {kept}. {_CALMER}")

    def next_batch() -> Sample:
        try:
            return read_batch(stream)
        except StorageError:
            # Of a store that is away: what was learned since the last checkpoint stays.
            if crew.size == 1:
                keep_interim()
            raise

    if state.epoch and not state.progress.batches:
        crew.lead(mend)
    hooks.on_step(state.step, total)
    kept_at = looked_at = time.monotonic()
    while state.epoch < recipe.epochs:
        while state.progress.batches < batches:
            lr = set_lr(state, recipe, total)
            share = sampler.share(state.progress.batches)
            with memory.step(share.count):
                batch = (part.to(device, non_blocking=True) for part in next_batch())
                condition, target = to_floats(*batch)
                figures = train_step(state, networks, condition, target, recipe, share)
            check_finite(figures, state.step, give_up)
            last = state.progress.batches == batches - 1
            state.progress.add(figures, lr, state.epoch + 1, state.step, last)
            hooks.on_step(state.step, total)
            if crew.any(hooks.should_stop()):
                crew.lead(lambda: stop_if(True))
            now = time.monotonic()
            if crew.leads and not last and now - looked_at >= _LOOK_EVERY:
                show_progress()
                looked_at = now
            old = now - kept_at >= 60 * recipe.checkpoint_minutes
            if recipe.checkpoint_minutes and not last and crew.any(old):
                crew.lead(keep_interim)
                kept_at = time.monotonic()
        metrics = state.progress.means()
        if metrics["skipped"] == batches:
            give_up(f"no step of epoch {state.epoch + 1} had a finite gradient")
        if len(validation):
            metrics["val_l1"] = crew.lead(check)
            check_finite(metrics, state.step, give_up)
        state.log += state.progress.lines
        state.epoch, state.progress = state.epoch + 1, EpochProgress()
        if len(validation):
            line = {"epoch": state.epoch, "step": state.step, "val_l1": metrics["val_l1"]}
            state.log.append(line)
        crew.lead(keep)
        if has_checkpoint():
            kept_at = looked_at = time.monotonic()
        hooks.on_epoch(state.epoch, metrics)
    return state, metrics


def read_batch(stream: Iterator[Sample]) -> Sample:
    """Return the next batch; an error of a loader's process is one line again.

    PyTorch puts the traceback of that process before the error's own words.
    """
    try:
        return next(stream)
    except IcanvasError as error:
        kind = type(error)
        raise kind(str(error).rpartition(f"{kind.__name__}: ")[2].strip()) from error


def check_finite(
    figures: Mapping[str, float], step: int, give_up: Callable[[str], NoReturn]
) -> None:
    """Give up where a loss or a metric is no number any more: nothing is learned then."""
    for name, value in figures.items():
        if not math.isfinite(value):
            give_up(f"{name} is {value} at step {step}")


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
