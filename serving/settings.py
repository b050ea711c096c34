"""Settings of the server: ``ICANVAS_SERVE_*`` environment variables."""

import ipaddress
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.errors import InputError
from config.settings import write_to_env

EngineName = Literal["auto", "openvino", "onnxruntime", "torch"]


class ServeSettings(BaseSettings):
    """Settings of the server.

    Attributes
    ----------
    host : str
        Address to listen on.
    port : int
        Port to listen on, in [0, 65535]; 0 for any free port.
    engine : str
        Engine that runs the generators; ``auto`` takes PyTorch on a GPU, else OpenVINO if it is
        installed, else ONNX Runtime.
    precision : str
        ``auto`` for bfloat16 if the device supports it, or ``f32``.
    workers : int or None
        Drawings that are processed concurrently, in [1, 256]; by default one a core, on a GPU two
        batches.
    max_batch_size : int
        Largest batch on a GPU, in [1, 256].
    queue_size : int
        Largest number of waiting drawings, in [1, 10000]; further ones are answered with 503.
    timeout : float
        Seconds in (0, 600] after which an unfinished drawing is answered with 503.
    poll_interval : float
        Seconds in (0, 3600] between two polls of the promotions.
    shutdown_timeout : float
        Seconds in [0, 3600] that accepted drawings have to finish at shutdown.
    max_bytes : int
        Largest body of a request, in bytes.
    max_pixels : int
        Largest width × height of a picture, checked before it is decoded.
    body_timeout : float
        Seconds in (0, 600] that a body may take to arrive.
    rate : float
        Drawings a second that one client may send on average; 0 for no limit.
    burst : int
        Drawings that one client may send at once.
    trusted_proxies : str
        Addresses or networks, separated by commas, whose ``X-Forwarded-For`` and
        ``X-Forwarded-Proto`` are trusted.
    cors_origins : str
        Origins, separated by commas, whose pages may use the API from a browser; ``*`` for all.
    key : SecretStr or None
        API key of at least 16 ASCII characters.
    key_file : Path or None
        File with one API key a line. Without ``key`` and ``key_file`` no key is required.
    metrics : bool
        Whether to serve ``/metrics``.
    safety : bool
        Whether to apply the safety filter to every picture.
    safety_threshold : float
        Probability in (0, 1] from which on a picture is not shown.
    archive_drawings : bool
        Whether to store drawings and pictures in the object store.
    allow_root : bool
        Whether root may run the server.
    """

    model_config = SettingsConfigDict(env_prefix="ICANVAS_SERVE_", env_ignore_empty=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    engine: EngineName = "auto"
    precision: Literal["auto", "f32"] = "auto"
    workers: int | None = Field(default=None, ge=1, le=256)
    max_batch_size: int = Field(default=8, ge=1, le=256)
    queue_size: int = Field(default=16, ge=1, le=10_000)
    timeout: float = Field(default=20, gt=0, le=600)
    poll_interval: float = Field(default=20, gt=0, le=3600)
    shutdown_timeout: float = Field(default=30, ge=0, le=3600)
    max_bytes: int = Field(default=4 << 20, ge=1 << 10, le=64 << 20)
    max_pixels: int = Field(default=16_000_000, ge=1 << 12, le=100_000_000)
    body_timeout: float = Field(default=15, gt=0, le=600)
    rate: float = Field(default=5, ge=0, allow_inf_nan=False)
    burst: int = Field(default=30, ge=1)
    trusted_proxies: str = ""
    cors_origins: str = ""
    key: SecretStr | None = None
    key_file: Path | None = None
    metrics: bool = True
    safety: bool = False
    safety_threshold: float = Field(default=0.5, gt=0, le=1)
    archive_drawings: bool = False
    allow_root: bool = False

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, proxies: str) -> str:
        for proxy in split_list(proxies):
            ipaddress.ip_network(proxy)
        return proxies

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: str) -> str:
        for origin in split_list(origins):
            scheme, _, rest = origin.partition("://")
            if origin != "*" and (scheme not in ("http", "https") or not rest or "/" in rest):
                raise ValueError(f"{origin} is not an origin like https://draw.example.com")
        return origins


def split_list(text: str) -> list[str]:
    """Split a comma-separated list, without empty parts.

    Examples
    --------
    >>> split_list("10.0.0.1, 10.0.0.2,")
    ['10.0.0.1', '10.0.0.2']
    """
    return [part.strip() for part in text.split(",") if part.strip()]


@cache
def get_serve_settings() -> ServeSettings:
    """Return the server's settings, read from the environment once and cached.

    Raises
    ------
    InputError
        If a variable's value is invalid; the message names the variable.
    """
    try:
        return ServeSettings()
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        # Never the value of a key.
        value = "" if field.startswith("key") else f"={first['input']!r}"
        raise InputError(
            f"ICANVAS_SERVE_{field.upper()}{value} is invalid: {first['msg']}. Change or unset it."
        ) from None


def override_serve_settings(**values: object) -> None:
    """Override environment variables with command-line options, and clear the cache.

    Parameters
    ----------
    **values : object
        Values by name of the setting; None leaves a setting as it is.

    Raises
    ------
    TypeError
        If there is no setting of a name.
    """
    write_to_env(ServeSettings, values)
    get_serve_settings.cache_clear()


def read_api_keys(settings: ServeSettings) -> tuple[str, ...]:
    """Return the API keys from ``key`` and ``key_file``; an empty tuple if none is required.

    Parameters
    ----------
    settings : ServeSettings
        Settings of the server.

    Raises
    ------
    InputError
        If the file cannot be read or is empty, or a key is shorter than 16 characters or not ASCII.
    """
    keys = [settings.key.get_secret_value()] if settings.key else []
    if settings.key_file:
        try:
            lines = settings.key_file.expanduser().read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"ICANVAS_SERVE_KEY_FILE: {settings.key_file} cannot be read: {error}."
            ) from None
        file_keys = [line.strip() for line in lines if line.strip()]
        if not file_keys:
            raise InputError(
                f"ICANVAS_SERVE_KEY_FILE: {settings.key_file} is empty: write one key a line."
            )
        keys += file_keys
    if any(not key.isascii() or len(key) < 16 for key in keys):
        raise InputError("An API key must have at least 16 characters, all ASCII.")
    return tuple(keys)
