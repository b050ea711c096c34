"""Temporary files with a readable error for a full disk."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from config.errors import StorageError

_DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def temporary_file() -> Iterator[IO[bytes]]:
    """Open an anonymous temporary file for the duration of the ``with`` block.

    The file has no name, so nothing is left behind if the process is killed.

    Yields
    ------
    binary file
        Empty, open for reading and writing, and seekable.

    Raises
    ------
    StorageError
        If the disk is full, the quota is exhausted or the file grows too large.
    """
    try:
        with tempfile.TemporaryFile() as file:
            yield file
    except OSError as error:
        if error.errno in _DISK_FULL_ERRORS:
            raise StorageError(
                f"Writing a temporary file in {tempfile.gettempdir()} failed: "
                f"{error.strerror}. Free some space, or choose another folder with TMPDIR."
            ) from error
        raise
