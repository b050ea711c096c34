"""A folder as a source."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from config.errors import IntegrityError, SourceError
from sources.archives.source_file import SourceFile, escape_name, hash_file


class FolderSource:
    """All regular files below a folder, sorted by path. Linked folders are not followed.

    Parameters
    ----------
    root : Path
        The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._digests: dict[str, str] = {}

    def identity(self, progress: Callable[[int], None]) -> str:
        """Compute a digest of all paths and contents; see ``sources.archives.Source``."""
        total = hashlib.sha256()
        for path in self._paths():
            with _translate_errors(self._root / path):
                digest = hash_file(self._root / path, progress)
            self._digests[path] = digest
            total.update(os.fsencode(path) + b"\0" + digest.encode() + b"\0")
        return total.hexdigest()

    def files(self) -> Iterator[SourceFile]:
        """Iterate over the files; see ``sources.archives.Source``."""
        for path in self._digests or self._paths():
            with _translate_errors(self._root / path):
                size = (self._root / path).stat().st_size
            yield SourceFile(escape_name(path), size, partial(self._read, path))

    def names(self) -> Iterator[str]:
        """Iterate over the files' paths; see ``sources.archives.Source``."""
        return (escape_name(path) for path in self._digests or self._paths())

    def _paths(self) -> list[str]:
        def raise_source_error(error: OSError) -> None:
            raise SourceError(f"{error.filename} cannot be read: {error.strerror}.") from error

        paths = []
        for folder, _, names in os.walk(self._root, onerror=raise_source_error):
            for name in names:
                path = Path(folder, name)
                if path.is_file():
                    paths.append(path.relative_to(self._root).as_posix())
        return sorted(paths, key=os.fsencode)

    def _read(self, path: str) -> bytes:
        with _translate_errors(self._root / path):
            content = (self._root / path).read_bytes()
        expected = self._digests.get(path)
        if expected is not None and hashlib.sha256(content).hexdigest() != expected:
            raise IntegrityError(f"{self._root / path} changed while it was read. Run again.")
        return content


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror}. Correct its permissions, or remove it."
        ) from error
