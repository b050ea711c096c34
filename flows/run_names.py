"""Names of flow runs, as the list of runs in the Prefect UI shows them."""

from pathlib import Path
from typing import Any

from prefect.runtime import flow_run
from pydantic import BaseModel

from flows.parameters import DEFAULT

# Parameters that the name holds in another form, or that do not distinguish runs.
_OMITTED = {
    "source",
    "reason",
    "name",
    "accept_license",
    "allow_partial",
    "note",
    "author",
    "votes",
}

# Parameters that are on by default; named only when they are off.
_ON_BY_DEFAULT = {"use", "auto_start"}


def format_run_name() -> str:
    """Return a name from the flow, its data set, and its reason or unusual parameters.

    Call during a flow run, as Prefect's ``flow_run_name``.

    Returns
    -------
    str
        For example ``prepare panda``, also for the source ``/data/panda``; ``extract shoes:
        threshold 0.3``; or, with a reason, ``prepare panda: version 4 after 3``.
    """
    parameters = flow_run.parameters
    options = _to_dict(parameters.get("options"))
    name = options.get("name") or parameters.get("name")
    name = name or Path(parameters.get("source") or "").name
    detail = parameters.get("reason") or ", ".join(_format_parameters(parameters))
    return " ".join(filter(None, (flow_run.flow_name, name))) + (f": {detail}" if detail else "")


def _format_parameters(parameters: dict[str, Any]) -> list[str]:
    """Return the parameters that differ from their defaults, in words."""
    words = []
    for name, value in parameters.items():
        if name in _ON_BY_DEFAULT and value is False:
            words.append(f"{name} no")
        if name in _OMITTED or value in (None, False, "", {}, [], (), DEFAULT):
            continue
        if isinstance(value, dict | BaseModel):
            words += _format_parameters(_to_dict(value))
        elif isinstance(value, list | tuple):
            words.append(f"{name} {' '.join(map(str, value))}")
        elif value is True:
            words += [] if name in _ON_BY_DEFAULT else [name]
        else:
            words.append(f"{name} {value}")
    return words


def _to_dict(value: Any) -> dict[str, Any]:
    return value.model_dump() if isinstance(value, BaseModel) else value or {}
