"""The settings: ``ICANVAS_*`` environment variables, overridden by command-line options."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.errors import InputError

# Fields that have a command-line option.
_FIELDS_WITH_OPTION = {
    "store",
    "cache",
    "engine",
    "weights",
    "workers",
    "runner",
    "allow_http",
    "processes",
}

_PREFECT_DEFAULTS = {
    # No telemetry, and no waiting for a network that may be missing.
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A busy machine needs more than the default 20 s to start the embedded API.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}


class Settings(BaseSettings):
    """Storage locations and execution options of the process.

    Attributes
    ----------
    store : str
        URL of the object store, ``file:///path`` or ``s3://bucket/prefix``. A plain path is a
        folder.
    cache : Path
        Folder for weights, downloads and other files that can be fetched again.
    engine : {"auto", "opencv", "openvino", "torch"}
        Engine that runs the HED network; ``auto`` selects the fastest available one.
    precision : {"auto", "f32"}
        Precision of the HED network; ``auto`` selects the fastest that the device supports well.
    weights : Path or None
        File with HED weights; None for the default weights.
    catalogue : Path or None
        Folder with further catalogue entries, loaded in addition to the built-in ones.
    workers : int, 1 to 256, or None
        HED networks that run concurrently on the CPU and share its cores. None for the engine's
        own choice (OpenCV: one per core).
    cores : int, 1 or more, or None
        CPU cores that one process may use. None for the cores that its Ray or Dask cluster
        assigns, or for all cores without a cluster.
    runner : {"threads", "processes", "ray", "dask"}
        Where shards are processed: threads of the flow's process, processes on this machine, or
        the workers of a Ray or Dask cluster.
    runner_address : str or None
        Address of a running cluster. None starts a Ray or Dask cluster on this machine for the
        duration of the flow.
    runner_processes : int, 1 to 256
        Worker processes that are started on this machine; they share its cores.
    processes : str
        Number of processes, 1 to 99, that train one run together, each on its part of every batch
        and on its own GPU if there are GPUs; ``auto`` for one per GPU.
    accept_licenses : str
        Names of data sets whose licenses are accepted, separated by spaces or commas, or ``all``.
    shard_cache_gb : float, GB (10⁹ bytes), 0 or more
        Space in the cache folder for shards of an S3 store; the least recently used are evicted.
    when_busy : {"wait", "refuse"}
        What a second flow run for the same data set does on Prefect workers: wait until the first
        one has ended, or fail.
    store_web_url : str or None
        Web address of the store (``https://…``) where a browser can open its objects. Artifacts in
        the Prefect UI then link to them.
    allow_http : bool
        Allow downloads over plain http, which anyone on the network path can modify.
    """

    model_config = SettingsConfigDict(env_prefix="ICANVAS_", env_ignore_empty=True)

    store: str = Field(
        default_factory=lambda: (platformdirs.user_data_path("icanvas") / "store").as_uri()
    )
    cache: Path = Field(default_factory=lambda: platformdirs.user_cache_path("icanvas"))
    engine: Literal["auto", "opencv", "openvino", "torch"] = "opencv"
    precision: Literal["auto", "f32"] = "auto"
    weights: Path | None = None
    catalogue: Path | None = None
    workers: int | None = Field(default=None, ge=1, le=256)
    cores: int | None = Field(default=None, ge=1)
    runner: Literal["threads", "processes", "ray", "dask"] = "threads"
    runner_address: str | None = None
    runner_processes: int = Field(default=2, ge=1, le=256)
    processes: str = Field(default="1", pattern=r"^([1-9]\d?|auto)$")
    accept_licenses: str = ""
    shard_cache_gb: float = Field(default=20, ge=0, allow_inf_nan=False)
    when_busy: Literal["wait", "refuse"] = "wait"
    store_web_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#]+$")
    allow_http: bool = False

    @field_validator("store")
    @classmethod
    def _resolve_store(cls, store: str) -> str:
        return store if "://" in store else str(Path(store).expanduser().absolute())

    @field_validator("cache", "catalogue", "weights")
    @classmethod
    def _resolve_path(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()


@cache
def get_settings() -> Settings:
    """Return the settings of the process, which are read from the environment once.

    Returns
    -------
    Settings
        The same object at every call, until ``override_settings`` is called.

    Raises
    ------
    InputError
        If a variable has an invalid value; the message names the variable.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        option = f" (option --{field.replace('_', '-')})" if field in _FIELDS_WITH_OPTION else ""
        raise InputError(
            f"ICANVAS_{field.upper()}={first['input']!r}{option} is invalid: {first['msg']}. "
            "Change or unset it."
        ) from None


def count_cores() -> int:
    """Return the number of CPU cores that the system lets this process use.

    Returns
    -------
    int, 1 or more
        Size of the CPU affinity mask, or the number of cores where there is no such mask.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def get_usable_cores() -> int:
    """Return the number of CPU cores to use: ``ICANVAS_CORES``, else all available cores.

    Returns
    -------
    int, 1 or more
        Number of cores.
    """
    return get_settings().cores or count_cores()


def override_settings(**values: object) -> None:
    """Override settings of the environment with command-line options.

    The values are written to the environment, so that child processes use them too.

    Parameters
    ----------
    **values : object
        Settings by field name. A value of None leaves the setting unchanged.

    Raises
    ------
    TypeError
        If there is no setting of a name.
    """
    write_to_env(Settings, values)
    get_settings.cache_clear()


def write_to_env(model: type[BaseSettings], values: Mapping[str, object]) -> None:
    """Write settings to the environment variables that a settings model reads.

    Parameters
    ----------
    model : type of BaseSettings
        Its ``env_prefix`` begins the variables' names.
    values : mapping of str to object
        Settings by field name. A value of None leaves the variable unchanged.

    Raises
    ------
    TypeError
        If the model has no field of a name.
    """
    if unknown := values.keys() - model.model_fields:
        raise TypeError(f"{model.__name__} has no setting {min(unknown)!r}.")
    for name, value in values.items():
        if value is not None:
            os.environ[f"{model.model_config['env_prefix']}{name.upper()}"] = str(value)


def export_paths_to_env() -> None:
    """Write the absolute paths of the settings to the environment.

    Child processes with another working directory then use the same folders.
    """
    settings = get_settings()
    override_settings(
        store=settings.store,
        cache=settings.cache,
        weights=settings.weights,
        catalogue=settings.catalogue,
    )


def apply_prefect_defaults() -> None:
    """Set our defaults for Prefect, except where the user set a value.

    Call it before Prefect is imported.
    """
    for name, value in _PREFECT_DEFAULTS.items():
        os.environ.setdefault(name, value)
