"""Runs with checkpoints of small networks, kept as training keeps them, without training."""

import torch

from config.recipe import Recipe
from model.training.checkpoint import save_state, start_state
from model.training.resume import describe_run
from storage import LocalStore
from storage.runs import Run

SMALL = Recipe(image_size=64, generator_width=4, generator_blocks=1, discriminator_width=4, ema=0.9)


def keep_run(
    store: LocalStore, run: str, epochs: int, dataset: str = "tiny", pairs: str = "pairs"
) -> Run:
    """Keep a run whose checkpoints draw differently; those of another name draw other pictures."""
    place = Run(store, dataset, run)
    recipe = SMALL.model_copy(update={"seed": sum(run.encode())})
    place.put("recipe.json", describe_run(pairs, recipe, 0.8))
    state = start_state(recipe, torch.device("cpu"))
    assert state.average is not None
    for epoch in range(1, epochs + 1):
        state.epoch, state.step = epoch, 10 * epoch
        with torch.no_grad():
            for weights in state.average.module.parameters():
                weights.add_(0.02 * epoch)
        place.put_checkpoint(epoch, 10 * epoch, save_state(state, recipe), {"val_l1": 1 / epoch})
    return place
