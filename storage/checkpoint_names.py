"""How people write which checkpoint they mean."""

import re
from collections.abc import Sequence
from itertools import groupby

from config.errors import InputError, NotFoundError, SourceError

# The last one of the newest run.
LAST = "last"


def resolve_checkpoint(name: str | None, available: dict[str, list[int]]) -> tuple[str, int]:
    """Return run and epoch of ``RUN/EPOCH``; of None or ``last`` the last of the newest run.

    Parameters
    ----------
    wanted : as a person writes it; ``RUN/epoch-EPOCH`` will do.
    there : epochs by run, as ``list_checkpoints`` returns them; at least one.

    Raises
    ------
    InputError
        If it is not written so.
    NotFoundError
        If it is not there; the message tells what is.
    """
    if name in (None, LAST):
        run, epochs = list(available.items())[-1]
        return run, epochs[-1]
    assert name is not None
    match = re.fullmatch(r"([^/]+)/(?:epoch-)?(\d{1,9})", name)
    if match is None:
        run, epochs = list(available.items())[-1]
        raise InputError(
            f"{name}: a checkpoint is written RUN/EPOCH, as in {run}/{epochs[-1]}, or {LAST}."
        )
    run, epoch = match[1], int(match[2])
    if epoch not in available.get(run, []):
        known = "; ".join(f"{run}/{format_ranges(epochs)}" for run, epochs in available.items())
        raise NotFoundError(f"There is no checkpoint {name}. There are {known}.")
    return run, epoch


def check_runs_exist(runs: Sequence[str], available: dict[str, list[int]], dataset: str) -> None:
    """Check that a data set has checkpoints, and of each run that is wanted.

    Parameters
    ----------
    wanted : names of runs; may be none.
    there : epochs by run, as ``list_checkpoints`` returns them.
    dataset : whose they are.

    Raises
    ------
    SourceError
        If not; the message tells what there is.
    """
    if not available:
        raise SourceError(f"{dataset} has no checkpoint to compare. Run `icanvas train {dataset}`.")
    for run in runs:
        if run not in available:
            raise SourceError(
                f"{dataset} has no run {run} with a checkpoint. There are: {', '.join(available)}."
            )


def format_ranges(numbers: list[int]) -> str:
    """Return rising numbers as a person writes them: ``1-3, 7, 9-12``."""
    groups = groupby(enumerate(numbers), lambda place: place[1] - place[0])
    runs = [[number for _, number in group] for _, group in groups]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
