"""The training loop."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn

import torch
from torch.nn.functional import l1_loss

from config.errors import IcanvasError, InputError, StorageError
from config.recipe import Recipe
from model.data.dataset import PairDataset, Sample, make_loader, to_float32
from model.data.sampler import ResumableBatchSampler
from model.device import should_compile
from model.networks.generator import Generator
from model.training.artifacts import APPEND_ONLY, RunArtifacts
from model.training.callbacks import TrainingCallbacks, TrainingStopped
from model.training.checkpoint import TrainingState, serialize_state
from model.training.distributed import DistributedContext
from model.training.memory import OomGuard
from model.training.progress import EpochProgress
from model.training.resume import repair_file, resume_or_init
from model.training.step import prepare_networks, set_lr, train_step
from storage.runs import Run

_MAX_VALIDATION_PAIRS = 200

# Seconds between two writes of the logs within an epoch.
_FLUSH_INTERVAL_S = 60.0

_DIVERGENCE_ADVICE = (
    "Try a lower lr, a lower lambda_l1, or precision=f32, which starts another run."
)


def train_loop(
    run: Run,
    training: PairDataset,
    validation: PairDataset,
    recipe: Recipe,
    device: torch.device,
    num_workers: int,
    artifacts: RunArtifacts,
    callbacks: TrainingCallbacks,
    context: DistributedContext,
    oom_guard: OomGuard,
) -> tuple[TrainingState, dict[str, float]]:
    """Train from the latest checkpoint to the last epoch.

    Raises what ``model.training.train`` documents.

    Parameters
    ----------
    run : Run
        Where the files are written, by the main process only.
    training : PairDataset
        Pairs to train on.
    validation : PairDataset
        Pairs to validate on; may be empty.
    recipe : Recipe
        With a resolved precision.
    device : torch.device
        Where steps are taken.
    num_workers : int
        Loader processes.
    artifacts : RunArtifacts
        Renders the files besides checkpoints.
    callbacks : TrainingCallbacks
        Report progress, and stop the run.
    context : DistributedContext
        The processes that train together.
    oom_guard : OomGuard
        Observes the steps.

    Returns
    -------
    state : TrainingState
        After the last epoch.
    metrics : dict of str to float
        Of the last epoch.
    """
    state, metrics = resume_or_init(run, recipe, device, context)
    sampler = ResumableBatchSampler(
        len(training), recipe, state.epoch, state.progress.batches, context
    )
    batches_per_epoch, total_steps = (
        sampler.batches_per_epoch,
        recipe.epochs * sampler.batches_per_epoch,
    )
    oom_guard.compiled = should_compile(recipe, device, total_steps)
    networks = prepare_networks(state, oom_guard.compiled, context)
    # A finished run needs no loader processes.
    loader = make_loader(training, recipe, sampler, device, num_workers if len(sampler) else 0)
    stream = iter(loader)

    def save_interim_checkpoint() -> None:
        data = serialize_state(state, recipe)
        run.save_checkpoint(state.epoch, state.step, data, {}, state.progress.batches)

    def stop_if(requested: bool) -> None:
        if requested:
            save_interim_checkpoint()
            raise TrainingStopped

    def run_validation() -> float:
        return validate(
            state.eval_generator, validation, device, lambda: stop_if(callbacks.should_stop())
        )

    def repair_files() -> None:
        # The store may have lost files, or another machine may have uploaded older ones.
        for file, render in artifacts.epoch_files(state, True).items():
            run.put(file, render()) if file in APPEND_ONLY else repair_file(run, file, render)

    def is_checkpoint_epoch() -> bool:
        return state.epoch % recipe.checkpoint_every == 0 or state.epoch == recipe.epochs

    def save_epoch() -> None:
        if is_checkpoint_epoch():
            # First, because the other files are derived from it and are repaired if missing.
            run.save_checkpoint(state.epoch, state.step, serialize_state(state, recipe), metrics)
        for file, render in artifacts.epoch_files(state, is_checkpoint_epoch()).items():
            run.put(file, render())

    def flush_logs() -> None:
        for file, render in artifacts.partial_files(state).items():
            run.put(file, render())
        for line in state.progress.lines[-1:]:
            callbacks.on_log(line)

    def abort(reason: str) -> NoReturn:
        def flush_and_find_checkpoint() -> bool:
            flush_logs()
            return any(run.list_all_checkpoints())

        checkpoint_state = (
            "with its last checkpoint saved"
            if context.run_on_main(flush_and_find_checkpoint)
            else "before its first checkpoint"
        )
        raise InputError(
            f"{run.dataset}: {reason}; training stopped {checkpoint_state}. {_DIVERGENCE_ADVICE}"
        )

    def next_batch() -> Sample:
        try:
            return read_batch(stream)
        except StorageError:
            # The store cannot be reached: save the steps since the last checkpoint locally.
            if context.world_size == 1:
                save_interim_checkpoint()
            raise

    if state.epoch and not state.progress.batches:
        context.run_on_main(repair_files)
    callbacks.on_step(state.step, total_steps)
    last_checkpoint_at = last_flush_at = time.monotonic()
    while state.epoch < recipe.epochs:
        while state.progress.batches < batches_per_epoch:
            lr = set_lr(state, recipe, total_steps)
            shard = sampler.get_shard(state.progress.batches)
            with oom_guard.step(shard.batch_size):
                batch = (part.to(device, non_blocking=True) for part in next_batch())
                condition, target = to_float32(*batch)
                step_metrics = train_step(state, networks, condition, target, recipe, shard)
            check_finite(step_metrics, state.step, abort)
            is_last = state.progress.batches == batches_per_epoch - 1
            state.progress.add(step_metrics, lr, state.epoch + 1, state.step, is_last)
            callbacks.on_step(state.step, total_steps)
            if context.any_rank(callbacks.should_stop()):
                context.run_on_main(lambda: stop_if(True))
            now = time.monotonic()
            if context.is_main_process and not is_last and now - last_flush_at >= _FLUSH_INTERVAL_S:
                flush_logs()
                last_flush_at = now
            is_due = now - last_checkpoint_at >= 60 * recipe.checkpoint_minutes
            if recipe.checkpoint_minutes and not is_last and context.any_rank(is_due):
                context.run_on_main(save_interim_checkpoint)
                last_checkpoint_at = time.monotonic()
        metrics = state.progress.compute_means()
        if metrics["skipped"] == batches_per_epoch:
            abort(f"every step of epoch {state.epoch + 1} had an infinite or NaN gradient")
        if len(validation):
            metrics["val_l1"] = context.run_on_main(run_validation)
            check_finite(metrics, state.step, abort)
        state.log += state.progress.lines
        state.epoch, state.progress = state.epoch + 1, EpochProgress()
        if len(validation):
            line = {"epoch": state.epoch, "step": state.step, "val_l1": metrics["val_l1"]}
            state.log.append(line)
        context.run_on_main(save_epoch)
        if is_checkpoint_epoch():
            last_checkpoint_at = last_flush_at = time.monotonic()
        callbacks.on_epoch(state.epoch, metrics)
    return state, metrics


def read_batch(stream: Iterator[Sample]) -> Sample:
    """Return the next batch, or raise the error of a loader process with its own message.

    PyTorch puts the traceback of the loader process before the message.
    """
    try:
        return next(stream)
    except IcanvasError as error:
        error_class = type(error)
        raise error_class(str(error).rpartition(f"{error_class.__name__}: ")[2].strip()) from error


def check_finite(metrics: Mapping[str, float], step: int, abort: Callable[[str], NoReturn]) -> None:
    """Call ``abort`` if a loss or metric is infinite or NaN."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            abort(f"{name} is {value} at step {step}")


@torch.no_grad()
def validate(
    generator: Generator,
    pairs: PairDataset,
    device: torch.device,
    on_picture: Callable[[], None] = lambda: None,
) -> float:
    """Return the generator's mean L1 over up to 200 pairs.

    Parameters
    ----------
    generator : Generator
        On the device.
    pairs : PairDataset
        At least one pair.
    device : torch.device
        Where pictures are generated.
    on_picture : callable, optional
        Called before each picture; its exceptions propagate.

    Returns
    -------
    float
        For pictures in [-1, 1].
    """
    count = min(len(pairs), _MAX_VALIDATION_PAIRS)
    total = 0.0
    for index in range(count):
        on_picture()
        condition, target = pairs[index]
        generated = generator(condition.unsqueeze(0).to(device))[0]
        total += l1_loss(generated.cpu(), target).item()
    return total / count
