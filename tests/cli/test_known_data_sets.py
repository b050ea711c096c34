"""Data sets from the network as a new user meets them: real commands, a played internet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import get_settings
from hed import EdgeDetector
from storage import LocalStore
from storage.pair_sets import read_current, read_manifest
from tests.cli.test_app import run_icanvas
from tests.hosts import Hosts, Resource
from tests.sources.hosts_data import PANDA, TOKEN, host_kaggle, pack_tar, shoe_files

pytestmark = pytest.mark.slow


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with Hosts() as playing:
        yield playing


@pytest.fixture
def user_environment(hosts: Hosts, detector: EdgeDetector, tmp_path: Path) -> dict[str, str]:
    """Return the environment of somebody who has no credentials and has fetched nothing."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "weights").symlink_to(get_settings().cache / "weights")
    own = {"HOME": str(tmp_path), "ICANVAS_CACHE": str(cache), "KAGGLE_API_TOKEN": ""}
    # The command must not ask this proxy for the embedded server of its own.
    return hosts.environment() | own


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_shoes_from_the_first_command_to_the_list(
    hosts: Hosts, user_environment: dict[str, str], store: LocalStore
) -> None:
    """The archive comes over a link that breaks; the pairs are used where they are."""
    archive = pack_tar(shoe_files(train=6, val=2))
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
    assert len(hosts.requests) == 1, "what was fetched is kept"
    current = read_current(store, "shoes")
    assert current is not None
    assert len(read_manifest(store, "shoes", current.fingerprint)) == 8
    listed = run_icanvas("datasets", **user_environment).stdout
    assert "icanvas train shoes" in listed
    details = run_icanvas("datasets", "show", "shoes", **user_environment).stdout
    assert "efrosgans.eecs.berkeley.edu/pix2pix/datasets/edges2shoes.tar.gz" in details
    assert "research only" in details
    assert "prepared" in details


def test_a_login_that_kaggle_refuses(hosts: Hosts, user_environment: dict[str, str]) -> None:
    host_kaggle(hosts, PANDA, Resource(b""), token=TOKEN)
    wrong = user_environment | {"KAGGLE_API_TOKEN": "a-wrong-one"}
    result = run_icanvas("prepare", "panda", "--accept-license", **wrong)
    assert result.returncode == 3
    assert "credentials in KAGGLE_API_TOKEN" in last_line(result.stderr)
    assert "Traceback" not in result.stderr
    assert "a-wrong-one" not in result.stdout + result.stderr


def test_no_network_at_all(user_environment: dict[str, str]) -> None:
    result = run_icanvas("prepare", "cartoon", **user_environment)
    assert result.returncode == 3
    assert "storage.googleapis.com" in last_line(result.stderr)
    assert "huggingface.co" in last_line(result.stderr)
    assert "--archive" in last_line(result.stderr)
    assert "Traceback" not in result.stderr
