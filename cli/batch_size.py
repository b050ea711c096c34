"""Output of ``icanvas train --find-batch``."""

import torch

from cli.console import console, make_table, show_progress_bars
from config.recipe import Recipe
from config.settings import get_settings
from model.device import choose_device
from model.training.batch_size_finder import (
    MAX_BATCH_SIZE,
    TrialResult,
    find_batch_size,
    should_compile_trials,
)
from model.training.memory import describe_device
from tasks.progress import progress_bar, set_status


def print_batch_sizes(dataset: str, recipe: Recipe) -> None:
    """Try batch sizes with a recipe, and print which fit and how fast a step is.

    Parameters
    ----------
    dataset : str
        Name of the data set, for the progress bar.
    recipe : Recipe
        Recipe of the run; ``batch`` is ignored.

    Raises
    ------
    InputError
        If a batch of one pair does not fit.
    """
    title, device = f"{dataset}: find batch size", choose_device()

    def log_trial(trial: TrialResult) -> None:
        fits = "does not fit" if trial.seconds is None else "fits"
        set_status(title, f"{trial.batch} {fits}")

    with show_progress_bars(), progress_bar(title):
        best, trials = find_batch_size(recipe, log_trial)
    table = make_table("batch", "fits", "s a step", "steps/s", "pairs/s")
    for trial in trials:
        if trial.seconds is None:
            table.add_row(str(trial.batch), "no")
            continue
        values = (trial.seconds, 1 / trial.seconds, trial.batch / trial.seconds)
        style = "[bold]" if trial.batch == best else ""
        cells = (f"{figure:.3g}" for figure in values)
        table.add_row(*(f"{style}{cell}" for cell in (str(trial.batch), "yes", *cells)))
    console.print(table)
    # Each process has its own GPU; processes on a CPU share its memory.
    num_requested, gpus = get_settings().processes, torch.cuda.device_count()
    num_processes = max(1, gpus if num_requested == "auto" else min(int(num_requested), gpus))
    per_process = f" on each of {num_processes}" if num_processes > 1 else ""
    batch = min(best * num_processes, MAX_BATCH_SIZE)
    advice = f"[bold]--set batch={batch}[/]"
    if num_requested != "auto" and int(num_requested) > batch:
        advice += f" in at most {batch} processes"
    compiled_note = "" if should_compile_trials(recipe, device) else ", not compiled,"
    console.print(
        f"\nOn {describe_device(device)}, at {recipe.image_size} px{compiled_note} a batch of "
        f"{best} fits{per_process} with a tenth of the memory to spare: {advice}"
    )
