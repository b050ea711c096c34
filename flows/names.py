"""Names of flow runs, for the operator's list."""

from pathlib import Path

from prefect.runtime import flow_run


def run_name() -> str:
    """Return the flow's name and its data set: ``prepare panda``, also for ``/data/panda``."""
    parameters = flow_run.parameters
    choices = parameters.get("choices") or {}
    name = choices.get("name") if isinstance(choices, dict) else choices.name
    name = name or parameters.get("name") or Path(parameters["source"]).name
    return f"{flow_run.flow_name} {name}"
