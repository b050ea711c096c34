"""Fixtures of all tests: stores, caches, small pictures, HED weights."""

import os

# OpenMP threads busy-wait, which is slow on a loaded machine, and the tests' networks are small.
# Set before PyTorch is imported, and for child processes.
os.environ["OMP_NUM_THREADS"] = "1"

import io
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from config.settings import get_settings
from hed import EdgeDetector, fetch_default_weights
from storage import LocalStore
from storage.s3 import S3Store
from tests.hed.weights.files import make_fast_network
from tests.s3 import BUCKET, SeaweedFS, running_s3

# A background job of a shell ignores SIGINT, and so would the child processes of the tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption(
        "--moments", type=int, default=1, help="number of random moments for each fault"
    )
    group.addoption("--seed", type=int, default=0, help="seed of the moments")
    parser.addoption("--shots", help="folder for screenshots")
    parser.addoption("--address", help="URL of a running `icanvas serve` for screenshots")
    parser.addoption("--outline", help="outline that is drawn: MODEL/NUMBER")
    group.addoption("--table", help="JSON Lines file to which outcomes are appended")


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from tests without the gpu mark, which compare exact results of the CPU."""
    if "gpu" not in config.getoption("markexpr"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Use a separate store for every test; the cache with the weights is shared."""
    folder = tmp_path / "own-store"
    monkeypatch.setenv("ICANVAS_STORE", folder.as_uri())
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


@pytest.fixture
def store(own_store: Path) -> LocalStore:
    return LocalStore(own_store)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """Run one S3 server for all tests, which use separate prefixes. Tests must not kill it."""
    with running_s3(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture
def s3_store(
    s3_server: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[S3Store]:
    """Return an empty S3 store, with a separate shard cache."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ICANVAS_CACHE", str(tmp_path / "own-cache"))
    get_settings.cache_clear()
    yield S3Store(BUCKET, f"tests/{uuid.uuid4().hex}")
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def hed_weights() -> None:
    """Download HED's weights into the cache for tests without network access."""
    fetch_default_weights()


@pytest.fixture(scope="session")
def detector() -> EdgeDetector:
    """Return the detector with the default weights; a small border is fast."""
    return EdgeDetector.load(border=16)


@pytest.fixture(scope="session")
def quick_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a small edge network; see ``make_fast_network``."""
    path = tmp_path_factory.mktemp("weights") / "quick.onnx"
    path.write_bytes(make_fast_network().SerializeToString())
    return path


@pytest.fixture(scope="session")
def quick_detector(quick_weights: Path) -> EdgeDetector:
    return EdgeDetector.load(weights=quick_weights, border=16)


@pytest.fixture
def quick_network(quick_weights: Path, own_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let flows use the small edge network, which has no default threshold."""
    monkeypatch.setenv("ICANVAS_WEIGHTS", str(quick_weights))
    get_settings.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def quiet_prefect(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Use a temporary Prefect database; set before Prefect is imported."""
    os.environ["PREFECT_HOME"] = str(tmp_path_factory.mktemp("prefect"))
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ["DO_NOT_TRACK"] = "1"


@pytest.fixture(scope="session")
def prefect_api(quiet_prefect: None) -> Iterator[None]:
    """Run one Prefect server for all tests of flows."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


def draw_scene(seed: int, height: int = 96, width: int = 96) -> NDArray[np.uint8]:
    """Return a picture with clear edges: colored rectangles on a uniform background.

    Parameters
    ----------
    seed : int
        Seed of positions and colors.
    height, width : int, pixels
        Size.

    Returns
    -------
    ndarray
        uint8 H×W×3 RGB.
    """
    random = np.random.default_rng(seed)
    picture = np.full((height, width, 3), random.integers(180, 255, 3), np.uint8)
    for _ in range(4):
        y, x = random.integers(0, height * 2 // 3), random.integers(0, width * 2 // 3)
        picture[y : y + height // 3, x : x + width // 3] = random.integers(0, 150, 3)
    return picture


def encode(picture: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    """Encode a picture.

    Parameters
    ----------
    picture : ndarray
        uint8 H×W×3 RGB.
    kind : str
        Pillow's name of the format.

    Returns
    -------
    bytes
        The file.
    """
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[int], Path]:
    """Return a function that writes a folder with a number of different pictures."""

    def make(count: int) -> Path:
        folder = tmp_path / "pictures"
        folder.mkdir(exist_ok=True)
        for index in range(count):
            (folder / f"{index:03d}.png").write_bytes(encode(draw_scene(index)))
        return folder

    return make
