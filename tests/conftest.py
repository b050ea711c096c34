"""What every test shares: a store and a cache of its own, small pictures, HED's weights."""

import os

# Several threads that wait for each other by spinning take many times as long where anything else
# runs; the tests' networks are small. Before PyTorch is imported, and for the processes that
# tests start.
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

# A shell starts what runs in its background deaf to Ctrl-C, and so would be what the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--moments", type=int, default=1, help="moments that each fault strikes at")
    group.addoption("--seed", type=int, default=0, help="decides which moments")
    parser.addoption("--shots", help="folder that screenshots are written to")
    parser.addoption("--address", help="of a running `icanvas serve` that screenshots are made of")
    parser.addoption("--outline", help="that is drawn for them: MODEL/NUMBER")
    group.addoption("--table", help="file that the outcomes are added to, one JSON object a line")


def pytest_configure(config: pytest.Config) -> None:
    """Let no test see a GPU that is not for one: what is exact on the CPU is not quite there."""
    if "gpu" not in config.getoption("markexpr"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep every test away from the user's store; the cache of weights is shared on purpose."""
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
    """One real S3 for all tests; each has a prefix of its own. Do not kill this one."""
    with running_s3(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture
def s3_store(
    s3_server: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[S3Store]:
    """An empty store on it, with a shard cache of the test's own."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ICANVAS_CACHE", str(tmp_path / "own-cache"))
    get_settings.cache_clear()
    yield S3Store(BUCKET, f"tests/{uuid.uuid4().hex}")
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def hed_weights() -> None:
    """Have HED's weights in the cache, for the tests that must do without a network."""
    fetch_default_weights()


@pytest.fixture(scope="session")
def detector() -> EdgeDetector:
    """The real network with the real weights; a small border keeps the tests quick."""
    return EdgeDetector.load(border=16)


@pytest.fixture(scope="session")
def quick_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a network for tests of what is done with edges; see ``make_fast_network``."""
    path = tmp_path_factory.mktemp("weights") / "quick.onnx"
    path.write_bytes(make_fast_network().SerializeToString())
    return path


@pytest.fixture(scope="session")
def quick_detector(quick_weights: Path) -> EdgeDetector:
    return EdgeDetector.load(weights=quick_weights, border=16)


@pytest.fixture
def quick_network(quick_weights: Path, own_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have flows find edges with it; it has no threshold of its own."""
    monkeypatch.setenv("ICANVAS_WEIGHTS", str(quick_weights))
    get_settings.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def quiet_prefect(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give Prefect a database of the tests' own, before anything imports it."""
    os.environ["PREFECT_HOME"] = str(tmp_path_factory.mktemp("prefect"))
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ["DO_NOT_TRACK"] = "1"


@pytest.fixture(scope="session")
def prefect_api(quiet_prefect: None) -> Iterator[None]:
    """One real Prefect server for all tests that run flows."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


def draw_scene(seed: int, height: int = 96, width: int = 96) -> NDArray[np.uint8]:
    """Return a picture with clear edges: coloured rectangles on a plain ground."""
    random = np.random.default_rng(seed)
    picture = np.full((height, width, 3), random.integers(180, 255, 3), np.uint8)
    for _ in range(4):
        y, x = random.integers(0, height * 2 // 3), random.integers(0, width * 2 // 3)
        picture[y : y + height // 3, x : x + width // 3] = random.integers(0, 150, 3)
    return picture


def encode(picture: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    """Return a picture as a file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[int], Path]:
    """Return a maker of folders with that many different pictures."""

    def make(count: int) -> Path:
        folder = tmp_path / "pictures"
        folder.mkdir(exist_ok=True)
        for index in range(count):
            (folder / f"{index:03d}.png").write_bytes(encode(draw_scene(index)))
        return folder

    return make
