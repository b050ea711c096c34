"""Which optional dependency group of icanvas brings a package that is not installed."""

import re
from importlib.metadata import PackageNotFoundError, requires

# In the order in which they are proposed: the smallest that brings a package first.
_GROUPS = ("pipeline", "train", "serve", "openvino", "safety", "kid", "ray", "dask")


def find_group(module: str, command: str = "") -> str | None:
    """Return the dependency group of icanvas that brings an import name.

    Parameters
    ----------
    module : str
        Name of the module that could not be imported, as in ``ModuleNotFoundError.name``.
    command : str
        The subcommand that needs it. A group of the same name is preferred.

    Returns
    -------
    str or None
        Name of the group, as in ``pip install 'icanvas[GROUP]'``; None where no group brings it.

    Examples
    --------
    >>> find_group("prefect.flows")
    'pipeline'
    >>> find_group("no_such_module") is None
    True
    """
    top = module.partition(".")[0]
    distribution = _normalize("protobuf" if module.startswith("google") else top)
    try:
        requirements = requires("icanvas") or []
    except PackageNotFoundError:
        return None
    groups = {
        match[2]
        for requirement in requirements
        if (match := re.match(r"([\w.-]+).*extra == ['\"]([\w-]+)['\"]", requirement))
        and _normalize(match[1]) == distribution
    }
    return next((group for group in (command, *_GROUPS) if group in groups), None)


def _normalize(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def format_missing(error: ModuleNotFoundError, command: str = "") -> str | None:
    """Return one line that says which package is missing and how to install it.

    Parameters
    ----------
    error : ModuleNotFoundError
        What an import raised.
    command : str
        The subcommand that was run.

    Returns
    -------
    str or None
        None where a module is missing from a package that is installed.
    """
    name = error.name or ""
    group = find_group(name, command)
    package = name.partition(".")[0]
    if not package or ("." in name and group is None):
        return None
    return (
        f"This command needs the package {package}, which is not installed. "
        f"Run: pip install 'icanvas[{group or 'all'}]'"
    )
