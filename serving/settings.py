"""Settings of the server: ``ICANVAS_SERVE_*`` environment variables."""

import ipaddress
import os
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.errors import InputError

EngineName = Literal["auto", "openvino", "onnxruntime", "torch"]


class ServeSettings(BaseSettings):
    """How the server works, and what it lets in.

    Attributes
    ----------
    host, port : where it listens.
    engine : what runs the generators; ``auto`` takes PyTorch on a GPU, else OpenVINO where it is
        installed, else ONNX Runtime.
    precision : ``auto`` for bf16 where the device computes in it, or ``f32``.
    workers : drawings that are worked on at once; one a core when left out, on a GPU two batches.
    batch : most drawings that a GPU takes at once.
    queue : drawings that wait at most; what comes then is answered with 503.
    timeout : seconds after which a drawing that is not done is answered with 503.
    poll : seconds between two looks at what is promoted.
    stop : seconds that what was accepted has to end when the server is stopped.
    max_bytes : largest body of a request.
    max_pixels : most pixels of a drawing, as its header tells them.
    body_timeout : seconds that a body may take to arrive.
    rate, burst : drawings a second from one client in the long run, and at once; a rate of 0 lets
        everything in.
    proxies : addresses or networks, separated by commas, whose ``X-Forwarded-For`` and
        ``X-Forwarded-Proto`` are believed.
    origins : pages of other origins that may use the API from a browser, separated by commas;
        ``*`` for every one.
    key, key_file : an API key, or a file with one a line; without either none is asked for.
    metrics : whether ``/metrics`` is there.
    safety : whether every picture passes the gate for what is not for children.
    safety_threshold : probability from which on the gate keeps a picture back.
    keep : whether drawings and their pictures are kept in the store.
    allow_root : whether root may run it.
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

    @field_validator("proxies")
    @classmethod
    def _check_proxies(cls, proxies: str) -> str:
        for proxy in split_list(proxies):
            ipaddress.ip_network(proxy)
        return proxies

    @field_validator("origins")
    @classmethod
    def _check_origins(cls, origins: str) -> str:
        for origin in split_list(origins):
            scheme, _, rest = origin.partition("://")
            if origin != "*" and (scheme not in ("http", "https") or not rest or "/" in rest):
                raise ValueError(f"{origin} is no origin, as https://draw.example.com is")
        return origins


def split_list(text: str) -> list[str]:
    """Return the parts of a list that is separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


@cache
def get_serve_settings() -> ServeSettings:
    """Return the server's settings, read once from the environment.

    Raises
    ------
    InputError
        If a variable holds a value that does not fit; the message names it.
    """
    try:
        return ServeSettings()
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        # Never what was given for a key.
        value = "" if field.startswith("key") else f"={first['input']!r}"
        raise InputError(
            f"ICANVAS_SERVE_{field.upper()}{value} does not fit: {first['msg']}. "
            "Change or unset it."
        ) from None


def override_serve_settings(**values: object) -> None:
    """Put command-line options (those that are not None) over the environment's values."""
    for name, value in values.items():
        if value is not None:
            os.environ[f"ICANVAS_SERVE_{name.upper()}"] = str(value)
    get_serve_settings.cache_clear()


def read_api_keys(settings: ServeSettings) -> tuple[str, ...]:
    """Return the API keys that are set; none where none is asked for.

    Raises
    ------
    InputError
        If the file cannot be read or holds no key.
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
                f"ICANVAS_SERVE_KEY_FILE: {settings.key_file} holds no key: write one a line."
            )
        keys += file_keys
    if any(not key.isascii() or len(key) < 16 for key in keys):
        raise InputError("An API key has at least 16 characters, all of them ASCII.")
    return tuple(keys)
