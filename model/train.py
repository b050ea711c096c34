"""The training loop, from the first step to the last checkpoint."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from errors import InputError
from model.checkpoint import TrainingState, restore_state, save_state, start_state
from model.data import PairDataset, make_loader
from model.losses import adversarial_loss, discriminator_loss, join_pair
from model.recipe import Recipe
from model.samples import draw_samples
from storage import ObjectStore
from storage.fingerprint import fingerprint
from storage.registry import Run, checkpoint_name, sample_name

TRAINING_FORMAT = 1

# Steps that are averaged into one line of metrics.jsonl.
_LOG_EVERY = 10
_MOST_VALIDATION_PAIRS = 200

OnStep = Callable[[int, int], None]
OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class TrainedRun:
    """A finished run in short.

    Attributes
    ----------
    dataset, run : which one.
    pairs : fingerprint of the pair set that it learned from.
    epochs, steps : done in all.
    metrics : the last epoch's means.
    checkpoint, samples, metrics_file : where a person finds them.
    """

    dataset: str
    run: str
    pairs: str
    epochs: int
    steps: int
    metrics: dict[str, float]
    checkpoint: str
    samples: str
    metrics_file: str


def name_run(pairs: str, recipe: Recipe, revision: int = 0) -> str:
    """Return the run's name: what it learns from and how, so that the same run is found again."""
    facts: dict[str, object] = {
        "format": TRAINING_FORMAT,
        "pairs": pairs,
        "recipe": recipe.model_dump(),
    }
    return fingerprint(facts | ({"revision": revision} if revision else {}))


def train(
    store: ObjectStore,
    dataset: str,
    pairs: str,
    recipe: Recipe,
    refresh: bool = False,
    on_step: OnStep = lambda *_: None,
    on_epoch: OnEpoch = lambda *_: None,
) -> TrainedRun:
    """Train a generator, keeping a checkpoint and a sample grid an epoch.

    A run that was interrupted goes on after its last checkpoint; a finished one is returned as
    it is.

    Parameters
    ----------
    store : holds the pairs, takes the run.
    dataset, pairs : the pair set to learn from: data set and fingerprint.
    recipe : how.
    refresh : train once more, as a new run beside the finished ones; an unfinished one goes on.
    on_step : called with (steps done, steps in all).
    on_epoch : called with (epochs done, the epoch's figures).

    Raises
    ------
    InputError
        If the pair set has no training pair, or a loss is no longer finite.
    NotFoundError
        If the pair set is not published.
    IntegrityError
        If a pair or the last checkpoint is damaged.
    """
    training = PairDataset(store, dataset, pairs, "train", recipe.image_size)
    validation = PairDataset(store, dataset, pairs, "val", recipe.image_size)
    if not training:
        raise InputError(f"Pair set {pairs} of {dataset} has no training pair: see its report.")
    name, run = _find_run(store, dataset, pairs, recipe, refresh)
    run.put("recipe.json", _describe(pairs, recipe))

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    records = run.checkpoints()
    if records:
        state = restore_state(run.get_checkpoint(records[-1]), recipe, device)
    else:
        state = start_state(recipe, device)
    metrics = records[-1].metrics if records else {}
    log = _read_log(run, state.epoch)
    total = recipe.epochs * -(-len(training) // recipe.batch)
    on_step(state.step, total)

    while state.epoch < recipe.epochs:
        loader = make_loader(training, recipe.batch, recipe.seed, state.epoch, device)
        sums: dict[str, float] = {}
        whole: dict[str, float] = {}
        for number, (condition, target) in enumerate(loader, start=1):
            losses = train_step(state, condition.to(device), target.to(device), recipe.lambda_l1)
            for loss, value in losses.items():
                if not math.isfinite(value):
                    raise InputError(
                        f"{dataset}: the {loss} loss is {value} at step {state.step}; training "
                        "stopped with the last checkpoint kept. Try a lower learning_rate."
                    )
                sums[loss] = sums.get(loss, 0.0) + value
                whole[loss] = whole.get(loss, 0.0) + value
            if number % _LOG_EVERY == 0 or number == len(loader):
                count = (number - 1) % _LOG_EVERY + 1
                means = {loss: value / count for loss, value in sums.items()}
                log.append({"epoch": state.epoch + 1, "step": state.step, **means})
                sums = {}
            on_step(state.step, total)
        state.epoch += 1
        metrics = {loss: value / len(loader) for loss, value in whole.items()}
        if len(validation):
            metrics["val_l1"] = validate(state, validation, device)
            log.append({"epoch": state.epoch, "step": state.step, "val_l1": metrics["val_l1"]})

        # A data set too small to be split shows what it learned from.
        grid = draw_samples(state.generator, validation if len(validation) else training, device)
        run.put(sample_name(state.epoch), grid)
        run.put("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in log).encode())
        run.put_checkpoint(state.epoch, state.step, save_state(state, recipe), metrics)
        on_epoch(state.epoch, metrics)

    return TrainedRun(
        dataset=dataset,
        run=name,
        pairs=pairs,
        epochs=state.epoch,
        steps=state.step,
        metrics=metrics,
        checkpoint=run.location(checkpoint_name(state.epoch)),
        samples=run.location(sample_name(state.epoch)),
        metrics_file=run.location("metrics.jsonl"),
    )


def train_step(
    state: TrainingState, condition: Tensor, target: Tensor, lambda_l1: float
) -> dict[str, float]:
    """Take one discriminator step and then one generator step.

    Parameters
    ----------
    state : changed in place.
    condition : float32 (N, 1, S, S) in [0, 1].
    target : float32 (N, 3, S, S) in [-1, 1].
    lambda_l1 : weight of the L1 term.

    Returns
    -------
    dict
        ``discriminator``, ``adversarial`` and ``l1``, each unweighted.
    """
    fake = state.generator(condition)

    real_scores = state.discriminator(join_pair(target, condition))
    fake_scores = state.discriminator(join_pair(fake.detach(), condition))
    d_loss = discriminator_loss(real_scores, fake_scores)
    state.discriminator_optimiser.zero_grad(set_to_none=True)
    d_loss.backward()  # type: ignore[no-untyped-call]
    state.discriminator_optimiser.step()

    # The generator's loss needs the discriminator's gradient in the picture, not in its weights.
    state.discriminator.requires_grad_(False)
    adversarial = adversarial_loss(state.discriminator(join_pair(fake, condition)))
    l1 = l1_loss(fake, target)
    state.generator_optimiser.zero_grad(set_to_none=True)
    (adversarial + lambda_l1 * l1).backward()  # type: ignore[no-untyped-call]
    state.generator_optimiser.step()
    state.discriminator.requires_grad_(True)

    state.step += 1
    return {"discriminator": d_loss.item(), "adversarial": adversarial.item(), "l1": l1.item()}


@torch.no_grad()
def validate(state: TrainingState, pairs: PairDataset, device: torch.device) -> float:
    """Return the generator's mean L1 over (at most 200 of) the pairs, pictures in [-1, 1]."""
    count = min(len(pairs), _MOST_VALIDATION_PAIRS)
    total = 0.0
    for index in range(count):
        condition, target = pairs[index]
        generated = state.generator(condition.unsqueeze(0).to(device))[0]
        total += l1_loss(generated.cpu(), target).item()
    return total / count


def _find_run(
    store: ObjectStore, dataset: str, pairs: str, recipe: Recipe, refresh: bool
) -> tuple[str, Run]:
    """Return the newest run of these facts; on refresh the next one, if that is finished."""
    revision = 0
    while True:
        name = name_run(pairs, recipe, revision)
        run = Run(store, dataset, name)
        done = [record.epoch for record in run.checkpoints()]
        finished = bool(done) and done[-1] >= recipe.epochs
        following = Run(store, dataset, name_run(pairs, recipe, revision + 1))
        if following.get("recipe.json") is None and not (refresh and finished):
            return name, run
        revision += 1


def _describe(pairs: str, recipe: Recipe) -> bytes:
    facts = {
        "pairs": pairs,
        "recipe": recipe.model_dump(),
        "torch": torch.__version__,
        "condition": "float (N, 1, S, S) in [0, 1], 0 on lines",
        "picture": "float (N, 3, S, S) RGB in [-1, 1]",
    }
    return json.dumps(facts, indent=2).encode()


def _read_log(run: Run, epochs: int) -> list[dict[str, float]]:
    """Return the lines of metrics.jsonl up to an epoch; later ones belong to lost work."""
    content = run.get("metrics.jsonl") or b""
    lines = [json.loads(line) for line in content.splitlines()]
    return [line for line in lines if line["epoch"] <= epochs]
