"""A filter that shortens Prefect's run logs for operators."""

import logging

from config.errors import IcanvasError

_RUN_LOGGERS = ("prefect.task_runs", "prefect.flow_runs")


def install_log_filter() -> None:
    """Filter the logs of flow and task runs.

    Errors of this project are logged as one line without a traceback. The message "Finished in
    state Completed()" of a task run is dropped, because each task logs its result.
    """
    for name in _RUN_LOGGERS:
        logger = logging.getLogger(name)
        if _filter_record not in logger.filters:
            logger.addFilter(_filter_record)


def _filter_record(record: logging.LogRecord) -> bool:
    if record.name == _RUN_LOGGERS[0] and record.msg == "Finished in state Completed()":
        return False
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, IcanvasError):
        if str(record.msg).startswith("Engine execution exited"):
            # Prefect has already logged this error.
            return False
        # The message contains the remedy. A traceback does not help an operator.
        record.msg, record.args, record.exc_info = f"{type(error).__name__}: {error}", (), None
    return True
