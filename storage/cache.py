"""``ShardCache``: local copies of remote shards in a folder of bounded size."""

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

# Writes the content into an open file and returns its verified SHA-256 (hex).
Fetch = Callable[[IO[bytes]], str]

# Names and inodes of the files that this process has verified. Each is hashed only once.
_verified: set[tuple[str, int]] = set()

# A partial file that is older belongs to a killed process.
_STALE_AFTER_S = 24 * 3600


class ShardCache:
    """A folder of files named by their content, shared by all processes of the user.

    A file is complete or does not exist, and its SHA-256 is part of its name. Readers hold a shared
    lock on their file, and only files without a lock are evicted, the least recently used first.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the cache. It is created when it is first needed.
    limit : int, bytes
        Maximum total size of the files. A larger file is never cached.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    @contextmanager
    def acquire(self, name: str, size: int, fetch: Fetch) -> Iterator[Path]:
        """Yield a cached file and keep it from eviction, for the duration of the ``with`` block.

        The file is fetched if it is not cached. If the folder is full or not writable, it is a
        temporary file.

        Parameters
        ----------
        name : str
            Hexadecimal digits that change whenever the content may have changed.
        size : int, bytes
            Length of the content.
        fetch : callable
            Writes the content into an open file and returns its verified SHA-256 (hex).

        Yields
        ------
        pathlib.Path
            The file. It must not be written to.

        Raises
        ------
        StorageError
            If there is no space anywhere. Errors of ``fetch`` are passed on.
        """
        with ExitStack() as stack:
            path = None
            if size <= self._limit:
                # An unusable cache costs time but is no error.
                with suppress(OSError):
                    path = self._get_or_fetch(name, size, fetch, stack)
            yield path or _fetch_to_temporary(size, fetch, stack)

    def fits(self, size: int) -> bool:
        """Check whether files of this total size can be cached at the same time.

        Parameters
        ----------
        size : int, bytes
            Total size of the files.

        Returns
        -------
        bool
            False also if the folder cannot be written to.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            used = sum(file_size for _, file_size, _ in self._list_files())
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return False
        return os.access(self._folder, os.W_OK) and size <= min(self._limit, used + free)

    def _get_or_fetch(self, name: str, size: int, fetch: Fetch, stack: ExitStack) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        # Of several processes that need the same file, one fetches it.
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
                if status.st_nlink == 0:  # evicted before we locked it
                    continue
                if (path.name, status.st_ino) not in _verified:
                    if (
                        hashlib.file_digest(file, "sha256").hexdigest()
                        != path.name[len(name) + 1 :]
                    ):
                        path.unlink(missing_ok=True)
                        continue
                    _verified.add((path.name, status.st_ino))
                with suppress(OSError):  # owned by another user
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
        """Return mtime, size and path of the cached files; delete stale partial files."""
        files = []
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                status = path.stat()
                if not path.name.startswith("."):
                    files.append((status.st_mtime, status.st_size, path))
                elif (
                    path.name.startswith(".part-")
                    and time.time() - status.st_mtime > _STALE_AFTER_S
                ):
                    path.unlink()
        return files


def _evict(path: Path) -> bool:
    """Delete a file unless a reader has locked it; return whether it is gone."""
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
            # Closing the file flushes it and fails for the same reason; report it once.
            with suppress(OSError):
                file.close()
            raise
    except OSError as error:
        raise StorageError(
            f"Writing a local copy of {size / 1e6:.0f} MB failed: {error.strerror}. Free some "
            "space, or choose another folder with ICANVAS_CACHE or TMPDIR."
        ) from error
    return Path(file.name)
