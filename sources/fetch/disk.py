"""What a disk may do to a download: errors in plain words, small files written whole."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from config.errors import StorageError
from storage.local import fsync

_DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# What has to stay free beside a file, in bytes.
_FREE_SPACE_MARGIN = 64 << 20

_ModelT = TypeVar("_ModelT", bound=BaseModel)


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turn what a disk raises into one clear error."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL_ERRNOS:
            raise StorageError(
                f"The disk is full: {path} cannot grow. What is there is kept: free some space "
                "and run again to resume, or choose another place with --cache."
            ) from error
        raise StorageError(
            f"{path} cannot be read or written: {error.strerror}. "
            "Check its permissions, or choose another place with --cache."
        ) from error


def check_space(path: Path, num_bytes: int) -> None:
    """Raise StorageError unless a file can grow by so many bytes."""
    needed = num_bytes + _FREE_SPACE_MARGIN
    with translate_errors(path.parent):
        free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise StorageError(
            f"{path.name} needs {format_bytes(needed)} in {path.parent}, where {format_bytes(free)} are free. "
            "Free some, or choose another place with --cache."
        )


def format_bytes(done: int, total: int | None = None) -> str:
    """Return bytes for a person: ``3.1 of 8.6 GB``."""
    largest = done if total is None else total
    power = next((p for p in (4, 3, 2, 1) if largest >= 1000**p), 0)
    unit = ("bytes", "kB", "MB", "GB", "TB")[power]
    numbers = [done] if total is None else [done, total]
    return " of ".join(f"{n / 1000**power:.{min(power, 1)}f}" for n in numbers) + f" {unit}"


def load_metadata(path: Path, model: type[_ModelT]) -> _ModelT | None:
    """Return what a sidecar says; None where it is missing or says nothing."""
    try:
        return model.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def save_metadata(path: Path, model: BaseModel) -> None:
    """Write a sidecar, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    with translate_errors(path):
        temporary.write_text(model.model_dump_json(), encoding="utf-8")
        fsync(temporary)
        temporary.replace(path)
