"""Known data sets from the network: real commands with simulated hosts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import get_settings
from hed import EdgeDetector
from storage import LocalStore
from storage.pair_sets import read_current, read_manifest
from tests.cli.test_app import run_icanvas
from tests.hosts import FakeHosts, Resource
from tests.sources.hosts_data import PANDA, TOKEN, make_shoe_files, pack_tar, serve_kaggle

pytestmark = pytest.mark.slow


@pytest.fixture
def hosts() -> Iterator[FakeHosts]:
    with FakeHosts() as playing:
        yield playing


@pytest.fixture
def user_environment(hosts: FakeHosts, detector: EdgeDetector, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user without credentials and with an empty download cache."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "weights").symlink_to(get_settings().cache / "weights")
    own = {"HOME": str(tmp_path), "ICANVAS_CACHE": str(cache), "KAGGLE_API_TOKEN": ""}
    # The command's requests to its embedded server must not use the proxy.
    return hosts.proxy_env() | own


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_shoes_are_prepared_and_listed(
    hosts: FakeHosts, user_environment: dict[str, str], store: LocalStore
) -> None:
    """License, missing pictures, preparation without a second download, and the list."""
    archive = pack_tar(make_shoe_files(train=6, val=2))
    path = "/pix2pix/datasets/edges2shoes.tar.gz"
    hosts.add("efrosgans.eecs.berkeley.edu", path, Resource(archive))
    result = run_icanvas("prepare", "shoes", **user_environment)
    assert (result.returncode, hosts.requests) == (3, [])
    assert "--accept-license" in result.stderr
    result = run_icanvas("prepare", "shoes", "--accept-license", **user_environment)
    assert result.returncode == 3
    assert "6 of 49,825 pictures" in last_line(result.stderr)
    assert "--allow-partial" in last_line(result.stderr)
    result = run_icanvas("prepare", "shoes", "--allow-partial", **user_environment)
    assert result.returncode == 0, result.stderr
    assert "6 training and 2 validation pairs" in result.stdout
    assert "6 of 49,825 pictures" in result.stderr
    assert len(hosts.requests) == 1, "the archive was downloaded again"
    current = read_current(store, "shoes")
    assert current is not None
    assert len(read_manifest(store, "shoes", current.fingerprint)) == 8
    listed = run_icanvas("datasets", **user_environment).stdout
    assert "icanvas train shoes" in listed
    details = run_icanvas("datasets", "show", "shoes", **user_environment).stdout
    assert "efrosgans.eecs.berkeley.edu/pix2pix/datasets/edges2shoes.tar.gz" in details
    assert "research only" in details
    assert "prepared" in details


def test_rejected_kaggle_credentials_are_named_but_not_printed(
    hosts: FakeHosts, user_environment: dict[str, str]
) -> None:
    serve_kaggle(hosts, PANDA, Resource(b""), token=TOKEN)
    wrong = user_environment | {"KAGGLE_API_TOKEN": "a-wrong-one"}
    result = run_icanvas("prepare", "panda", "--accept-license", **wrong)
    assert result.returncode == 3
    assert "credentials in KAGGLE_API_TOKEN" in last_line(result.stderr)
    assert "Traceback" not in result.stderr
    assert "a-wrong-one" not in result.stdout + result.stderr


def test_without_network_the_error_names_the_hosts_and_archive_option(
    user_environment: dict[str, str],
) -> None:
    result = run_icanvas("prepare", "cartoon", **user_environment)
    assert result.returncode == 3
    assert "storage.googleapis.com" in last_line(result.stderr)
    assert "huggingface.co" in last_line(result.stderr)
    assert "--archive" in last_line(result.stderr)
    assert "Traceback" not in result.stderr
