"""Everything that a training run needs to go on, as bytes."""

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
    """The networks, their optimisers, and how far they are.

    Attributes
    ----------
    generator, discriminator, generator_optimiser, discriminator_optimiser : on one device.
    average : the generator's moving average; None where the recipe wants none.
    pool : generated pictures to be shown again.
    epoch : epochs done.
    step : generator steps done.
    progress : of the epoch after these.
    log : the lines of metrics.jsonl up to these.
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
        """The generator that is looked at, measured and used."""
        if self.ema is None:
            return self.generator
        return cast(Generator, self.ema.module)


def init_state(recipe: Recipe, device: torch.device) -> TrainingState:
    """Return freshly initialised networks; the same for the same recipe on the same device."""
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
    """Return a state as bytes that ``torch.load(weights_only=True)`` reads.

    The same state gives the same bytes, whether it was just reached or restored.
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

    What is shared is written once, and a restored state shares other things than a new one.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {_canonical(key): _canonical(kept) for key, kept in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_canonical(kept) for kept in value)
    return sys.intern(value) if isinstance(value, str) else value


def restore_state(data: bytes, recipe: Recipe, device: torch.device) -> TrainingState:
    """Return the state that ``save_state`` kept, and set the random states to its.

    Raises
    ------
    IntegrityError
        If the bytes are not a checkpoint of a run with this recipe's networks.
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
    """Return a checkpoint's generator that is used, on the CPU, and whether it is the average.

    Raises
    ------
    IntegrityError
        If the bytes are not a checkpoint of a run with this recipe's networks.
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
    """Turn what a checkpoint that is none raises into one clear error."""
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
        raise IntegrityError(f"A checkpoint cannot be loaded: {reason}") from error
