"""Checkpoints: everything that a run needs to resume, as bytes."""

import io
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel

from config.errors import IntegrityError
from config.recipe import Recipe
from model.networks.discriminator import Discriminator
from model.networks.ema import make_ema
from model.networks.generator import Generator
from model.training.image_pool import ImagePool
from model.training.progress import EpochProgress


@dataclass
class TrainingState:
    """The networks, their optimizers, and the progress of the run.

    Attributes
    ----------
    generator : Generator
        The generator that is trained.
    discriminator : Discriminator
        On the same device.
    generator_optimizer, discriminator_optimizer : Adam
        Of their parameters.
    ema : AveragedModel or None
        Moving average of the generator; None where the recipe disables it.
    image_pool : ImagePool
        Generated pictures that the discriminator is shown again.
    epoch : int
        Completed epochs.
    step : int
        Completed steps.
    progress : EpochProgress
        Of the epoch after the completed ones.
    log : list of dict
        Lines of metrics.jsonl up to the completed epochs.
    """

    generator: Generator
    discriminator: Discriminator
    generator_optimizer: torch.optim.Adam
    discriminator_optimizer: torch.optim.Adam
    ema: AveragedModel | None
    image_pool: ImagePool
    epoch: int = 0
    step: int = 0
    progress: EpochProgress = field(default_factory=EpochProgress)
    log: list[dict[str, float]] = field(default_factory=list)

    @property
    def eval_generator(self) -> Generator:
        """The generator for samples, validation and export: the moving average, if enabled."""
        if self.ema is None:
            return self.generator
        return cast(Generator, self.ema.module)


def init_state(recipe: Recipe, device: torch.device) -> TrainingState:
    """Return newly initialized networks.

    Parameters
    ----------
    recipe : Recipe
        The same recipe gives the same weights on the same device.
    device : torch.device
        Where the networks are trained.

    Returns
    -------
    TrainingState
    """
    torch.manual_seed(recipe.seed)
    generator = Generator(recipe.generator_width, recipe.generator_blocks).to(device)
    discriminator = Discriminator(recipe.discriminator_width).to(device)
    return TrainingState(
        generator,
        discriminator,
        _make_optimizer(generator, recipe),
        _make_optimizer(discriminator, recipe),
        make_ema(generator, recipe.ema) if recipe.ema else None,
        ImagePool(recipe.image_pool_size, torch.Generator().manual_seed(recipe.seed)),
    )


def _make_optimizer(network: torch.nn.Module, recipe: Recipe) -> torch.optim.Adam:
    return torch.optim.Adam(
        network.parameters(), lr=recipe.lr, betas=(recipe.beta1, 0.999), fused=True
    )


def serialize_state(state: TrainingState, recipe: Recipe) -> bytes:
    """Return a checkpoint, which ``torch.load(weights_only=True)`` reads.

    A state gives the same bytes whether it was just reached or restored.

    Parameters
    ----------
    state : TrainingState
        The state, with the global random states of PyTorch.
    recipe : Recipe
        Of the run; stored with the state.

    Returns
    -------
    bytes
    """
    buffer = io.BytesIO()
    checkpoint = _canonical(
        {
            "recipe": recipe.model_dump(),
            "generator": state.generator.state_dict(),
            "average": None if state.ema is None else state.ema.state_dict(),
            "discriminator": state.discriminator.state_dict(),
            "generator_optimiser": state.generator_optimizer.state_dict(),
            "discriminator_optimiser": state.discriminator_optimizer.state_dict(),
            "epoch": state.epoch,
            "step": state.step,
            "progress": asdict(state.progress),
            "log": state.log,
            "pool": state.image_pool.images,
            "pool_random": state.image_pool.generator.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        }
    )
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


def _canonical(value: Any) -> Any:
    """Copy a state so that equal strings are one object, and nothing else is shared.

    ``torch.save`` writes shared objects once, and a restored state shares other objects than a new
    one.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {_canonical(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_canonical(item) for item in value)
    return sys.intern(value) if isinstance(value, str) else value


def restore_state(data: bytes, recipe: Recipe, device: torch.device) -> TrainingState:
    """Load a checkpoint, and set PyTorch's global random states to its own.

    Parameters
    ----------
    data : bytes
        From ``serialize_state``.
    recipe : Recipe
        Of the run.
    device : torch.device
        Where the networks are trained.

    Returns
    -------
    TrainingState

    Raises
    ------
    IntegrityError
        If the bytes are not a checkpoint, or do not fit the recipe's networks.
    """
    state = init_state(recipe, device)
    with _translate_errors():
        checkpoint = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        state.generator.load_state_dict(checkpoint["generator"])
        state.discriminator.load_state_dict(checkpoint["discriminator"])
        state.generator_optimizer.load_state_dict(checkpoint["generator_optimiser"])
        state.discriminator_optimizer.load_state_dict(checkpoint["discriminator_optimiser"])
        if state.ema is not None:
            state.ema.load_state_dict(checkpoint["average"])
        state.image_pool.images = checkpoint["pool"]
        state.image_pool.generator.set_state(checkpoint["pool_random"].cpu())
        state.epoch, state.step = checkpoint["epoch"], checkpoint["step"]
        state.progress = EpochProgress(**checkpoint["progress"])
        state.log = checkpoint["log"]
        torch.set_rng_state(checkpoint["random"].cpu())
        if device.type == "cuda" and checkpoint["random_cuda"] is not None:
            torch.cuda.set_rng_state(checkpoint["random_cuda"].cpu())
    return state


def restore_generator(data: bytes, recipe: Recipe) -> tuple[Generator, bool]:
    """Load the generator for evaluation and export from a checkpoint, on the CPU.

    Parameters
    ----------
    data : bytes
        From ``serialize_state``.
    recipe : Recipe
        Of the run.

    Returns
    -------
    generator : Generator
        In evaluation mode, without gradients.
    is_ema : bool
        Whether it is the moving average.

    Raises
    ------
    IntegrityError
        If the bytes are not a checkpoint, or do not fit the recipe's networks.
    """
    with torch.device("meta"):
        generator = Generator(recipe.generator_width, recipe.generator_blocks)
    with _translate_errors():
        checkpoint = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        is_ema = checkpoint["average"] is not None
        weights = checkpoint["average"] if is_ema else checkpoint["generator"]
        if is_ema:
            names = generator.state_dict()
            weights = {name: weights[f"module.{name}"] for name in names}
        generator.load_state_dict(weights, assign=True)
    return generator.eval().requires_grad_(False), is_ema


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise IntegrityError for every error that loading invalid bytes raises."""
    try:
        yield
    except (
        AttributeError,
        EOFError,
        KeyError,
        RuntimeError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise IntegrityError(f"Loading a checkpoint failed: {reason}") from error
