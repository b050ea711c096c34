"""Distinguishes deployed runs from runs of the command line."""

import os


def is_deployed() -> bool:
    """Return whether a Prefect worker started this process to run a deployment.

    Returns
    -------
    bool
        False for runs of the command line.
    """
    # Prefect's workers set this variable. Querying the API would cost a request per call.
    return "PREFECT__FLOW_RUN_ID" in os.environ
