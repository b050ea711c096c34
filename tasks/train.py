"""The task that trains a generator."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

import model
from model import Recipe, TrainedRun
from storage import open_store
from storage.keys import run_folder
from storage.registry import sample_name
from tasks.progress import bar, move
from tasks.report import inline_jpeg


@task(task_run_name="train {dataset} on {pairs}", cache_policy=NO_CACHE)
def train(dataset: str, pairs: str, recipe: Recipe, store_url: str, refresh: bool) -> TrainedRun:
    """Train on a published pair set; see ``model.train``."""
    logger = get_run_logger()
    store = open_store(store_url)
    steps = f"{dataset}: train"

    def log_epoch(epoch: int, metrics: dict[str, float]) -> None:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        logger.info("%s: epoch %d of %d, %s", dataset, epoch, recipe.epochs, figures)

    with bar(steps, unit="steps"):
        run = model.train(
            store,
            dataset,
            pairs,
            recipe,
            refresh,
            on_step=lambda done, total: move(steps, done, total),
            on_epoch=log_epoch,
        )
    samples = store.get(f"{run_folder(dataset, run.run)}/{sample_name(run.epochs)}")
    grid = inline_jpeg(samples, width=900)
    figures = "\n".join(f"| {name} | {value:.4f} |" for name, value in run.metrics.items())
    create_markdown_artifact(
        key=f"run-{dataset}",
        description=f"Run {run.run} of {dataset}",
        markdown=(
            f"| | after epoch {run.epochs} |\n|---|---|\n{figures}\n\n"
            f"drawing, generated, target:\n\n![samples]({grid})\n\nCheckpoint: `{run.checkpoint}`"
        ),
    )
    return run
