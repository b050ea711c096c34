"""Shards of a store on the network, kept in a local folder of bounded size."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from config.errors import StorageError

# Writes what it fetches into a file and returns the SHA-256 (hex) of that, checked.
Fetch = Callable[[IO[bytes]], str]

# Files that this process has hashed, by name and inode: once is enough.
_verified: set[tuple[str, int]] = set()

# A download that takes longer than this is none any more: its process was killed.
_STALE_AFTER_S = 24 * 3600


class ShardCache:
    """Files by a name that stands for their content, shared by every process of the user.

    A file is complete or not there, and its SHA-256 is part of its name. Whoever reads one holds a
    shared lock on it, and only what nobody holds is evicted.

    Parameters
    ----------
    folder : where the files are; made when first needed.
    limit : bytes that they may take together. What is larger than that is not kept.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    @contextmanager
    def acquire(self, name: str, size: int, fetch: Fetch) -> Iterator[Path]:
        """Give a file for the time of the ``with`` block, fetching it if need be.

        Where the folder is full or may not be written, the file is a temporary one.

        Parameters
        ----------
        name : hex digits that change whenever the content may have.
        size : of the content in bytes.
        fetch : writes the content.

        Raises
        ------
        StorageError
            If there is no room for it anywhere. What ``fetch`` raises passes through.
        """
        with ExitStack() as stack:
            path = None
            if size <= self._limit:
                # A folder that cannot be used makes the work slower, not impossible.
                with suppress(OSError):
                    path = self._get_or_fetch(name, size, fetch, stack)
            yield path or _fetch_to_temporary(size, fetch, stack)

    def fits(self, size: int) -> bool:
        """Tell whether files of so many bytes in all can be here at once."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            used = sum(found for _, found, _ in self._list_files())
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return False
        return os.access(self._folder, os.W_OK) and size <= min(self._limit, used + free)

    def _get_or_fetch(self, name: str, size: int, fetch: Fetch, stack: ExitStack) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        # What several want at once is fetched by one of them.
        with (self._folder / f".lock-{name[:2]}").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = self._get_cached(name, stack)
            if path is None:
                self._evict_lru(size)
                path = self._fetch_to_cache(name, fetch, stack)
        return path

    def _get_cached(self, name: str, stack: ExitStack) -> Path | None:
        for path in self._folder.glob(f"{name}-*"):
            with ExitStack() as locked:
                try:
                    file = locked.enter_context(path.open("rb"))
                    fcntl.flock(file, fcntl.LOCK_SH)
                except FileNotFoundError:
                    continue
                status = os.fstat(file.fileno())
                if status.st_nlink == 0:  # evicted before the lock was ours
                    continue
                if (path.name, status.st_ino) not in _verified:
                    if (
                        hashlib.file_digest(file, "sha256").hexdigest()
                        != path.name[len(name) + 1 :]
                    ):
                        path.unlink(missing_ok=True)
                        continue
                    _verified.add((path.name, status.st_ino))
                with suppress(OSError):  # another user's file
                    os.utime(path)
                stack.enter_context(locked.pop_all())
                return path
        return None

    def _fetch_to_cache(self, name: str, fetch: Fetch, stack: ExitStack) -> Path:
        with ExitStack() as locked:
            file = locked.enter_context(
                tempfile.NamedTemporaryFile(dir=self._folder, prefix=".part-", delete=False)
            )
            temporary = Path(file.name)
            try:
                digest = fetch(file)
                file.flush()
                path = self._folder / f"{name}-{digest}"
                fcntl.flock(file, fcntl.LOCK_SH)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _verified.add((path.name, os.fstat(file.fileno()).st_ino))
            stack.enter_context(locked.pop_all())
            return path

    def _evict_lru(self, size: int) -> None:
        files = self._list_files()
        used = sum(size for _, size, _ in files)
        limit = min(self._limit, used + shutil.disk_usage(self._folder).free)
        for _, file_size, path in sorted(files):
            if used + size <= limit:
                break
            if _evict(path):
                used -= file_size

    def _list_files(self) -> list[tuple[float, int, Path]]:
        """Return time, size and path of what is kept; what a killed process left is removed."""
        files = []
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                state = path.stat()
                if not path.name.startswith("."):
                    files.append((state.st_mtime, state.st_size, path))
                elif (
                    path.name.startswith(".part-") and time.time() - state.st_mtime > _STALE_AFTER_S
                ):
                    path.unlink()
        return files


def _evict(path: Path) -> bool:
    """Remove a file unless someone reads it."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _fetch_to_temporary(size: int, fetch: Fetch, stack: ExitStack) -> Path:
    try:
        file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="icanvas-"))  # noqa: SIM115
        try:
            fetch(file)
            file.flush()
        except OSError:
            # What has no room has none where the file is closed, either; that is one error.
            with suppress(OSError):
                file.close()
            raise
    except OSError as error:
        raise StorageError(
            f"There is no place for a local copy of {size / 1e6:.0f} MB: {error.strerror}. Free "
            "some space, or choose another folder with ICANVAS_CACHE or TMPDIR."
        ) from error
    return Path(file.name)
