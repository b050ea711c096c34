"""Callbacks by which the caller of a run follows it and stops it."""

from collections.abc import Callable
from dataclasses import dataclass


def _do_nothing(*_: object) -> None:
    """Do nothing."""


def _never_stop() -> bool:
    return False


@dataclass(frozen=True)
class TrainingCallbacks:
    """Functions that are called during a run; all are optional.

    Attributes
    ----------
    on_tracing : callable
        Called with (drawings traced, drawings in total) while the strokes are traced that
        augmentation needs.
    on_step : callable
        Called with (steps done, steps in total).
    on_log : callable
        Called with the latest line of metrics.jsonl, about once a minute within an epoch.
    on_epoch : callable
        Called with (epochs done, metrics of the epoch).
    on_upload_error : callable
        Called by another thread with a message for each failed upload, and with ``""`` after
        recovery.
    should_stop : callable
        Called after each step and each validation picture, and while the end of a run waits for
        uploads. If it returns True, an interim checkpoint is written and the run ends. Of several
        processes that train together, one that returns True stops all.
    """

    on_tracing: Callable[[int, int], None] = _do_nothing
    on_step: Callable[[int, int], None] = _do_nothing
    on_log: Callable[[dict[str, float]], None] = _do_nothing
    on_epoch: Callable[[int, dict[str, float]], None] = _do_nothing
    on_upload_error: Callable[[str], None] = _do_nothing
    should_stop: Callable[[], bool] = _never_stop


NO_CALLBACKS = TrainingCallbacks()


class TrainingStopped(Exception):
    """Training was stopped on request.

    Parameters
    ----------
    message : str
        What was saved, and where.
    """

    def __init__(
        self, message: str = "a checkpoint is saved, from which the same run resumes"
    ) -> None:
        super().__init__(message)
