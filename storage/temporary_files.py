"""Temporary files, and what to say when there is no room for them."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from config.errors import StorageError

_DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def temporary_file() -> Iterator[IO[bytes]]:
    """Give a temporary file for the time of the ``with`` block.

    It has no name, so that nothing stays behind a process that is killed.

    Raises
    ------
    StorageError
        If the disk is full.
    """
    try:
        with tempfile.TemporaryFile() as file:
            yield file
    except OSError as error:
        if error.errno in _DISK_FULL_ERRORS:
            raise StorageError(
                f"There is no room for temporary files in {tempfile.gettempdir()}: "
                f"{error.strerror}. Free some space, or choose another folder with TMPDIR."
            ) from error
        raise
