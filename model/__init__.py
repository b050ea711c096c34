"""The sketch-to-picture networks and their training. Never imports Prefect."""

from model.discriminator import Discriminator
from model.generator import Generator
from model.hooks import Hooks, TrainingStopped
from model.recipe import Recipe, make_recipe
from model.train import TrainedRun, train

__all__ = [
    "Discriminator",
    "Generator",
    "Hooks",
    "Recipe",
    "TrainedRun",
    "TrainingStopped",
    "make_recipe",
    "train",
]
