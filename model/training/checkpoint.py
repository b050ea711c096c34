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
from model.networks.ema import average_of
from model.networks.generator import Generator
from model.training.image_pool import PicturePool
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
    generator_optimiser: torch.optim.Adam
    discriminator_optimiser: torch.optim.Adam
    average: AveragedModel | None
    pool: PicturePool
    epoch: int = 0
    step: int = 0
    progress: EpochProgress = field(default_factory=EpochProgress)
    log: list[dict[str, float]] = field(default_factory=list)

    @property
    def drawing(self) -> Generator:
        """The generator that is looked at, measured and used."""
        if self.average is None:
            return self.generator
        return cast(Generator, self.average.module)


def start_state(recipe: Recipe, device: torch.device) -> TrainingState:
    """Return freshly initialised networks; the same for the same recipe on the same device."""
    torch.manual_seed(recipe.seed)
    generator = Generator(recipe.generator_width, recipe.generator_blocks).to(device)
    discriminator = Discriminator(recipe.discriminator_width).to(device)
    return TrainingState(
        generator,
        discriminator,
        _optimiser(generator, recipe),
        _optimiser(discriminator, recipe),
        average_of(generator, recipe.ema) if recipe.ema else None,
        PicturePool(recipe.pool, torch.Generator().manual_seed(recipe.seed)),
    )


def _optimiser(network: torch.nn.Module, recipe: Recipe) -> torch.optim.Adam:
    return torch.optim.Adam(
        network.parameters(), lr=recipe.lr, betas=(recipe.beta1, 0.999), fused=True
    )


def save_state(state: TrainingState, recipe: Recipe) -> bytes:
    """Return a state as bytes that ``torch.load(weights_only=True)`` reads.

    The same state gives the same bytes, whether it was just reached or restored.
    """
    buffer = io.BytesIO()
    kept = _canonical(
        {
            "recipe": recipe.model_dump(),
            "generator": state.generator.state_dict(),
            "average": None if state.average is None else state.average.state_dict(),
            "discriminator": state.discriminator.state_dict(),
            "generator_optimiser": state.generator_optimiser.state_dict(),
            "discriminator_optimiser": state.discriminator_optimiser.state_dict(),
            "epoch": state.epoch,
            "step": state.step,
            "progress": asdict(state.progress),
            "log": state.log,
            "pool": state.pool.kept,
            "pool_random": state.pool.random.get_state(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        }
    )
    torch.save(kept, buffer)
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
    state = start_state(recipe, device)
    with _explained():
        kept = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        state.generator.load_state_dict(kept["generator"])
        state.discriminator.load_state_dict(kept["discriminator"])
        state.generator_optimiser.load_state_dict(kept["generator_optimiser"])
        state.discriminator_optimiser.load_state_dict(kept["discriminator_optimiser"])
        if state.average is not None:
            state.average.load_state_dict(kept["average"])
        state.pool.kept = kept["pool"]
        state.pool.random.set_state(kept["pool_random"].cpu())
        state.epoch, state.step = kept["epoch"], kept["step"]
        state.progress = EpochProgress(**kept["progress"])
        state.log = kept["log"]
        torch.set_rng_state(kept["random"].cpu())
        if device.type == "cuda" and kept["random_cuda"] is not None:
            torch.cuda.set_rng_state(kept["random_cuda"].cpu())
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
    with _explained():
        kept = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        averaged = kept["average"] is not None
        weights = kept["average"] if averaged else kept["generator"]
        if averaged:
            names = generator.state_dict()
            weights = {name: weights[f"module.{name}"] for name in names}
        generator.load_state_dict(weights, assign=True)
    return generator.eval().requires_grad_(False), averaged


@contextmanager
def _explained() -> Iterator[None]:
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
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise IntegrityError(f"A checkpoint cannot be loaded: {first}") from error
