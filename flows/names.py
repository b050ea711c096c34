"""Names of flow runs, for the operator's list."""

from pathlib import Path

from prefect.runtime import flow_run


def run_name() -> str:
    """Return the flow's name and its data set: ``prepare panda``, also for ``/data/panda``."""
    parameters = flow_run.parameters
    return f"{flow_run.flow_name} {parameters['name'] or Path(parameters['source']).name}"
