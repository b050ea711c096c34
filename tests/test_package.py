"""The wheel: what it installs, that it is complete, and that it overwrites nobody's packages."""

import os
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files alone, as an installation has them."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def top_level_names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    return {top.removesuffix(".py") for top in tops if not top.endswith(".dist-info")}


def test_no_other_package_has_a_top_level_name_of_the_wheel(wheel: Path) -> None:
    names = top_level_names(wheel)
    assert "sources" in names and "tests" not in names and "benchmarks" not in names
    # Every package of constraints.txt is installed where the tests run. Hugging Face's `datasets`
    # is not, but stands beside us wherever somebody trains.
    others = {
        name: set(distributions) - {"icanvas"}
        for name, distributions in packages_distributions().items()
    }
    others["datasets"] = {"datasets"}
    clashes = {name: others[name] for name in names if others.get(name)}
    assert clashes == {}


@pytest.mark.parametrize(
    "pattern",
    [
        "sources/catalogue/car.toml",
        "sources/demo/color/*.png",
        "sources/demo/line/*.png",
        "sources/demo/LICENSE-CC-BY-SA-4.0.txt",
        "reports/templates/*.j2",
        "serving/page/index.html",
        "serving/page/*.js",
        "flows/prefect.yaml",
        "*.dist-info/licenses/LICENSE",
    ],
)
def test_the_wheel_holds_its_data_files(installed: Path, pattern: str) -> None:
    assert list(installed.glob(pattern))


def test_the_wheel_holds_every_module_and_data_file_of_the_checkout(installed: Path) -> None:
    for name in top_level_names_of_checkout():
        there = {path.relative_to(ROOT) for path in (ROOT / name).rglob("*") if is_source(path)}
        packed = {path.relative_to(installed) for path in (installed / name).rglob("*")}
        assert there <= packed


def top_level_names_of_checkout() -> set[str]:
    return {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}


def is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["datasets"], "demo"),
        (["prepare", "--help"], "--threshold"),
        (["serve", "--help"], "--port"),
    ],
)
def test_the_installed_command_runs_outside_the_checkout(
    installed: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed), "ICANVAS_STORE": str(tmp_path / "store")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


# Runs the command as if a package were not installed.
WITHOUT_PACKAGE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
from cli import main
main()
"""


@pytest.mark.parametrize(
    ("package", "arguments", "group"),
    [
        ("prefect", ["prepare", "demo"], "pipeline"),
        ("uvicorn", ["serve"], "serve"),
        ("torch", ["train", "demo"], "train"),
    ],
)
def test_a_missing_package_names_the_group_to_install(
    tmp_path: Path, package: str, arguments: list[str], group: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGE.format(package=package), *arguments],
        env={
            **os.environ,
            "ICANVAS_STORE": str(tmp_path / "store"),
            "ICANVAS_SERVE_ALLOW_ROOT": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    message = " ".join(done.stderr.split())
    assert f"needs the package {package}" in message
    assert f"pip install 'icanvas[{group}]'" in message
    assert "Traceback" not in done.stderr
