"""Runs that a worker started, as against those of a command."""

import os


def is_deployed() -> bool:
    """Tell whether a worker started this process to run a deployment."""
    # Prefect's workers name the run so; asking the API would cost a request each time.
    return "PREFECT__FLOW_RUN_ID" in os.environ
