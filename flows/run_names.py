"""Names of flow runs, for the operator's list."""

from pathlib import Path
from typing import Any

from prefect.runtime import flow_run
from pydantic import BaseModel

from flows.parameters import DEFAULT

# Which data set, and why: the name says those in its own way.
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

# What is on unless somebody turns it off; then it is said.
_ON_BY_DEFAULT = {"use", "auto_start"}


def format_run_name() -> str:
    """Return the flow's name, its data set and what is asked of it.

    ``prepare panda``, also for ``/data/panda``; ``extract shoes: threshold 0.3``; a reason that was
    given comes in place of what is asked: ``prepare panda: version 4 after 3``.
    """
    parameters = flow_run.parameters
    options = _to_dict(parameters.get("options"))
    name = options.get("name") or parameters.get("name")
    name = name or Path(parameters.get("source") or "").name
    detail = parameters.get("reason") or ", ".join(_format_parameters(parameters))
    return " ".join(filter(None, (flow_run.flow_name, name))) + (f": {detail}" if detail else "")


def _format_parameters(parameters: dict[str, Any]) -> list[str]:
    """Return, in words, the parameters that are other than usual."""
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
