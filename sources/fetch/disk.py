"""Disk access of downloads: error translation, free space, atomic metadata files."""

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

# Bytes that have to stay free on the disk.
_FREE_SPACE_MARGIN = 64 << 20

_ModelT = TypeVar("_ModelT", bound=BaseModel)


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Translate ``OSError`` into ``StorageError``.

    Parameters
    ----------
    path : Path
        File or folder that is accessed, for the message.

    Raises
    ------
    StorageError
        If the disk is full, or the path cannot be read or written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL_ERRNOS:
            raise StorageError(
                f"The disk is full: {path} cannot grow. The downloaded part is kept: free some "
                "space and run again to resume, or choose another folder with --cache."
            ) from error
        raise StorageError(
            f"{path} cannot be read or written: {error.strerror}. "
            "Check its permissions, or choose another folder with --cache."
        ) from error


def check_space(path: Path, num_bytes: int) -> None:
    """Check that a file can grow.

    Parameters
    ----------
    path : Path
        The file.
    num_bytes : int, bytes
        Number of bytes to be added.

    Raises
    ------
    StorageError
        If the disk has too little free space.
    """
    required = num_bytes + _FREE_SPACE_MARGIN
    with translate_errors(path.parent):
        free = shutil.disk_usage(path.parent).free
    if free < required:
        raise StorageError(
            f"{path.name} needs {format_bytes(required)} in {path.parent}, where "
            f"{format_bytes(free)} are free. Free some space, or choose another folder with "
            "--cache."
        )


def format_bytes(done: int, total: int | None = None) -> str:
    """Format a number of bytes for display.

    Parameters
    ----------
    done : int, bytes
        Number of bytes.
    total : int, bytes, or None
        Total number of bytes, which decides the unit.

    Returns
    -------
    str
        Decimal units, one digit after the point.

    Examples
    --------
    >>> format_bytes(3_100_000_000, 8_600_000_000)
    '3.1 of 8.6 GB'
    >>> format_bytes(999)
    '999 bytes'
    """
    largest = done if total is None else total
    power = next((p for p in (4, 3, 2, 1) if largest >= 1000**p), 0)
    unit = ("bytes", "kB", "MB", "GB", "TB")[power]
    numbers = [done] if total is None else [done, total]
    return " of ".join(f"{n / 1000**power:.{min(power, 1)}f}" for n in numbers) + f" {unit}"


def load_metadata(path: Path, model: type[_ModelT]) -> _ModelT | None:
    """Load a JSON metadata file.

    Parameters
    ----------
    path : Path
        The file.
    model : type of BaseModel
        Model of its content.

    Returns
    -------
    BaseModel or None
        None if the file is missing or invalid.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def save_metadata(path: Path, model: BaseModel) -> None:
    """Save a JSON metadata file atomically.

    Parameters
    ----------
    path : Path
        The file.
    model : BaseModel
        Its content.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    temporary = path.with_name(path.name + ".new")
    with translate_errors(path):
        temporary.write_text(model.model_dump_json(), encoding="utf-8")
        fsync(temporary)
        temporary.replace(path)
