"""The one settings object: ``ICANVAS_*`` environment variables, overridden by command options."""

import os
from functools import cache
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.errors import InputError

# Fields that the command line has an option for.
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
    # Nothing is sent anywhere, and nothing waits for a network that is not there.
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A busy machine needs more than the default 20 s to start the embedded API.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}


class Settings(BaseSettings):
    """Where things live and how extraction runs.

    Attributes
    ----------
    store : URL of the object store, ``file:///path``; a bare path is taken as a folder.
    cache : folder for weights and other files that can be fetched again.
    engine : what runs the HED network; ``auto`` takes the quickest that is there.
    precision : ``f32``, or ``auto`` for the quickest that the device does well.
    weights : a file with HED weights, in place of the default ones.
    catalogue : a folder with more catalogue entries, read beside the built-in ones.
    workers : HED networks that run at once on the CPU, the cores shared out among them; as many as
        the engine thinks best when left out (OpenCV: one a core).
    cores : cores that one process may use; what its Ray or Dask cluster gives it when left out, and
        without a cluster all.
    runner : what shards are shared out to: threads of the flow's process, processes of this
        machine, or the workers of a Ray or Dask cluster.
    runner_address : of a cluster that runs already; with Ray or Dask and without it, one is started
        on this machine for as long as it is needed.
    runner_processes : worker processes that are started on this machine; they share its cores.
    processes : that train a run together, each on its share of every batch and on a GPU of its own
        where there are GPUs; ``auto`` for one on each GPU.
    accept_licenses : names of data sets whose licences are accepted, or ``all``.
    shard_cache_gb : how many GB (10⁹ bytes) in the cache folder shards of an S3 store may take; the
        least recently used go first.
    when_busy : what a second run for the same data set does where workers run them: ``wait`` until
        the first has ended, or ``refuse``.
    links : the store's address on the web (``https://…``), where its objects can be opened in a
        browser; what the Prefect UI names is a link then.
    allow_http : fetch from servers that have no https, although anyone on the way could change
        the bytes.
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
    """Return the process's settings, read once from the environment.

    Raises
    ------
    InputError
        If a variable holds a value that does not fit; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        option = f" (option --{field.replace('_', '-')})" if field in _FIELDS_WITH_OPTION else ""
        raise InputError(
            f"ICANVAS_{field.upper()}={first['input']!r}{option} does not fit: {first['msg']}. "
            "Change or unset it."
        ) from None


def count_cores() -> int:
    """Return how many cores the system lets this process use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def get_usable_cores() -> int:
    """Return how many cores this process may use: ICANVAS_CORES, or all that it is let."""
    return get_settings().cores or count_cores()


def override_settings(**values: object) -> None:
    """Put command-line options (those that are not None) over the environment's values.

    They go through the environment, so that child processes see the same.
    """
    for name, value in values.items():
        if value is not None:
            os.environ[f"ICANVAS_{name.upper()}"] = str(value)
    get_settings.cache_clear()


def export_paths_to_env() -> None:
    """Put the places that are set into the environment such that they hold in any folder.

    For child processes that run in another one.
    """
    settings = get_settings()
    override_settings(
        store=settings.store,
        cache=settings.cache,
        weights=settings.weights,
        catalogue=settings.catalogue,
    )


def apply_prefect_defaults() -> None:
    """Set our defaults for Prefect where the user has set nothing. Call before importing it."""
    for name, value in _PREFECT_DEFAULTS.items():
        os.environ.setdefault(name, value)
