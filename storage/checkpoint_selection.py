"""Parse and format the names of checkpoints as users write them: ``RUN/EPOCH``."""

import re
from collections.abc import Sequence
from itertools import groupby

from config.errors import InputError, NotFoundError, SourceError

# Name of the last checkpoint of the newest run.
LAST = "last"


def resolve_checkpoint(name: str | None, available: dict[str, list[int]]) -> tuple[str, int]:
    """Return run and epoch of a checkpoint's name.

    Parameters
    ----------
    name : str or None
        ``RUN/EPOCH`` or ``RUN/epoch-EPOCH``. None and ``last`` are the last checkpoint of the
        newest run.
    available : dict of str to list of int
        Epochs by run, as ``storage.runs.list_checkpoints`` returns them; not empty.

    Returns
    -------
    run : str
        Name of the run.
    epoch : int
        Epoch of the checkpoint.

    Raises
    ------
    InputError
        If the name has another form.
    NotFoundError
        If the checkpoint does not exist; the message lists the existing ones.

    Examples
    --------
    >>> resolve_checkpoint("0123456789ab/2", {"0123456789ab": [1, 2, 3]})
    ('0123456789ab', 2)
    >>> resolve_checkpoint(None, {"0123456789ab": [1, 2, 3]})
    ('0123456789ab', 3)
    """
    if name in (None, LAST):
        run, epochs = list(available.items())[-1]
        return run, epochs[-1]
    assert name is not None
    match = re.fullmatch(r"([^/]+)/(?:epoch-)?(\d{1,9})", name)
    if match is None:
        run, epochs = list(available.items())[-1]
        raise InputError(
            f"{name!r} is no checkpoint's name. Write RUN/EPOCH, such as {run}/{epochs[-1]}, or "
            f"{LAST}."
        )
    run, epoch = match[1], int(match[2])
    if epoch not in available.get(run, []):
        known = "; ".join(f"{run}/{format_ranges(epochs)}" for run, epochs in available.items())
        raise NotFoundError(f"Checkpoint {name} does not exist. Existing ones: {known}.")
    return run, epoch


def check_runs_exist(runs: Sequence[str], available: dict[str, list[int]], dataset: str) -> None:
    """Check that a data set has checkpoints, and that each of the given runs has one.

    Parameters
    ----------
    runs : sequence of str
        Names of runs; may be empty.
    available : dict of str to list of int
        Epochs by run, as ``storage.runs.list_checkpoints`` returns them.
    dataset : str
        Name of the data set, for the error message.

    Raises
    ------
    SourceError
        If there is no checkpoint, or a run has none.
    """
    if not available:
        raise SourceError(f"{dataset} has no checkpoint to compare. Run `icanvas train {dataset}`.")
    for run in runs:
        if run not in available:
            raise SourceError(
                f"{dataset} has no run {run} with a checkpoint. Runs with checkpoints: "
                f"{', '.join(available)}."
            )


def format_ranges(numbers: list[int]) -> str:
    """Format ascending integers as ranges.

    Parameters
    ----------
    numbers : list of int
        In ascending order.

    Returns
    -------
    str
        Consecutive numbers are joined by a hyphen.

    Examples
    --------
    >>> format_ranges([1, 2, 3, 7, 9, 10])
    '1-3, 7, 9-10'
    """
    groups = groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    runs = [[number for _, number in group] for _, group in groups]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
