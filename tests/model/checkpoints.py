"""Test runs with checkpoints of small networks, written without training."""

import torch

from config.recipe import Recipe
from model.training.checkpoint import init_state, serialize_state
from model.training.resume import serialize_metadata
from storage import LocalStore
from storage.runs import Run

SMALL = Recipe(image_size=64, generator_width=4, generator_blocks=1, discriminator_width=4, ema=0.9)


def save_test_run(
    store: LocalStore, run: str, epochs: int, dataset: str = "tiny", pairs: str = "pairs"
) -> Run:
    """Write a run whose checkpoints generate different pictures, which depend on its name."""
    training_run = Run(store, dataset, run)
    recipe = SMALL.model_copy(update={"seed": sum(run.encode())})
    training_run.put("recipe.json", serialize_metadata(pairs, recipe, 0.8))
    state = init_state(recipe, torch.device("cpu"))
    assert state.ema is not None
    for epoch in range(1, epochs + 1):
        state.epoch, state.step = epoch, 10 * epoch
        with torch.no_grad():
            for weights in state.ema.module.parameters():
                weights.add_(0.02 * epoch)
        training_run.save_checkpoint(
            epoch, 10 * epoch, serialize_state(state, recipe), {"val_l1": 1 / epoch}
        )
    return training_run
