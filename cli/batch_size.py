"""What ``icanvas train --find-batch`` prints."""

import torch

from cli.console import make_table, out, show_progress_bars
from config.recipe import Recipe
from config.settings import get_settings
from model.device import choose_device
from model.training.batch_size_finder import LARGEST, Trial, compiles_tries, find_batch
from model.training.memory import name_device
from tasks.progress import bar, note


def print_batches(dataset: str, recipe: Recipe) -> None:
    """Try batches of a data set's recipe, and print which fit and how quick they are.

    Raises
    ------
    InputError
        If not even one pair fits.
    """
    title, device = f"{dataset}: try batches", choose_device()

    def tell(trial: Trial) -> None:
        fits = "does not fit" if trial.seconds is None else "fits"
        note(title, f"{trial.batch} {fits}")

    with show_progress_bars(), bar(title):
        best, trials = find_batch(recipe, tell)
    table = make_table("batch", "fits", "s a step", "steps/s", "pairs/s")
    for trial in trials:
        if trial.seconds is None:
            table.add_row(str(trial.batch), "no")
            continue
        figures = (trial.seconds, 1 / trial.seconds, trial.batch / trial.seconds)
        marks = "[bold]" if trial.batch == best else ""
        told = (f"{figure:.3g}" for figure in figures)
        table.add_row(*(f"{marks}{cell}" for cell in (str(trial.batch), "yes", *told)))
    out.print(table)
    # Processes have a GPU each, but share the CPU's memory.
    wanted, gpus = get_settings().processes, torch.cuda.device_count()
    count = max(1, gpus if wanted == "auto" else min(int(wanted), gpus))
    shared = f" on each of {count}" if count > 1 else ""
    batch = min(best * count, LARGEST)
    advice = f"[bold]--set batch={batch}[/]"
    if wanted != "auto" and int(wanted) > batch:
        advice += f" in at most {batch} processes"
    plain = "" if compiles_tries(recipe, device) else ", not compiled,"
    out.print(
        f"\nOn {name_device(device)}, at {recipe.image_size} px{plain} a batch of {best} fits"
        f"{shared} with a tenth of the memory to spare: {advice}"
    )
