"""The sketch-to-picture networks and their training. Never imports Prefect."""

from model.discriminator import Discriminator
from model.generator import Generator
from model.recipe import Recipe, make_recipe
from model.train import TrainedRun, TrainingStopped, train

__all__ = [
    "Discriminator",
    "Generator",
    "Recipe",
    "TrainedRun",
    "TrainingStopped",
    "make_recipe",
    "train",
]
