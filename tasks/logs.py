"""Prefect's log, without what an operator does not need."""

import logging

from config.errors import IcanvasError

_RUNS = ("prefect.task_runs", "prefect.flow_runs")


def tidy_logs() -> None:
    """Let our errors be one line, and leave out that a task ended well: ours say what it did."""
    for name in _RUNS:
        logger = logging.getLogger(name)
        if _tidy not in logger.filters:
            logger.addFilter(_tidy)


def _tidy(record: logging.LogRecord) -> bool:
    if record.name == _RUNS[0] and record.msg == "Finished in state Completed()":
        return False
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, IcanvasError):
        if str(record.msg).startswith("Engine execution exited"):
            # Said already.
            return False
        # Where it was raised tells an operator nothing; the message says what to do.
        record.msg, record.args, record.exc_info = f"{type(error).__name__}: {error}", (), None
    return True
