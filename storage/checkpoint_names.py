"""How people write which checkpoint they mean."""

import re
from collections.abc import Sequence
from itertools import groupby

from config.errors import InputError, NotFoundError, SourceError

# The last one of the newest run.
LAST = "last"


def choose_checkpoint(wanted: str | None, there: dict[str, list[int]]) -> tuple[str, int]:
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
    if wanted in (None, LAST):
        run, epochs = list(there.items())[-1]
        return run, epochs[-1]
    assert wanted is not None
    found = re.fullmatch(r"([^/]+)/(?:epoch-)?(\d{1,9})", wanted)
    if found is None:
        run, epochs = list(there.items())[-1]
        raise InputError(
            f"{wanted}: a checkpoint is written RUN/EPOCH, as in {run}/{epochs[-1]}, or {LAST}."
        )
    run, epoch = found[1], int(found[2])
    if epoch not in there.get(run, []):
        known = "; ".join(f"{run}/{show_ranges(epochs)}" for run, epochs in there.items())
        raise NotFoundError(f"There is no checkpoint {wanted}. There are {known}.")
    return run, epoch


def check_runs(wanted: Sequence[str], there: dict[str, list[int]], dataset: str) -> None:
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
    if not there:
        raise SourceError(f"{dataset} has no checkpoint to compare. Run `icanvas train {dataset}`.")
    for run in wanted:
        if run not in there:
            raise SourceError(
                f"{dataset} has no run {run} with a checkpoint. There are: {', '.join(there)}."
            )


def show_ranges(numbers: list[int]) -> str:
    """Return rising numbers as a person writes them: ``1-3, 7, 9-12``."""
    groups = groupby(enumerate(numbers), lambda place: place[1] - place[0])
    runs = [[number for _, number in group] for _, group in groups]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
