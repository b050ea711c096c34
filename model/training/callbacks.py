"""How whoever starts a run follows it, and stops it."""

from collections.abc import Callable
from dataclasses import dataclass


def _do_nothing(*_: object) -> None:
    """Do nothing."""


def _never_stop() -> bool:
    return False


@dataclass(frozen=True)
class TrainingCallbacks:
    """What is called during a run; nothing when left out.

    Attributes
    ----------
    on_trace : with (drawings done, drawings in all) while these are traced to strokes, which
        augmentation needs.
    on_step : with (steps done, steps in all).
    on_line : with the newest line of metrics.jsonl, about every minute within an epoch.
    on_epoch : with (epochs done, the epoch's figures).
    on_trouble : from another thread, with what keeps files from the store, and with nothing when it
        is over.
    should_stop : after each step and each validation picture, and while the store is waited for; at
        yes an interim checkpoint is kept. Where several processes train together, one that says yes
        stops all.
    """

    on_tracing: Callable[[int, int], None] = _do_nothing
    on_step: Callable[[int, int], None] = _do_nothing
    on_log: Callable[[dict[str, float]], None] = _do_nothing
    on_epoch: Callable[[int, dict[str, float]], None] = _do_nothing
    on_upload_error: Callable[[str], None] = _do_nothing
    should_stop: Callable[[], bool] = _never_stop


# Of a run that nobody follows.
NO_CALLBACKS = TrainingCallbacks()


class TrainingStopped(Exception):
    """Training was asked to stop; what it had done is kept, and says itself where."""

    def __init__(
        self, message: str = "a checkpoint is kept, and the same run goes on from it"
    ) -> None:
        super().__init__(message)
