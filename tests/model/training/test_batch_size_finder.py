"""The search for the largest batch size, also with a real memory limit."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.batch_size import print_batch_sizes
from config.errors import InputError
from config.recipe import Recipe
from config.settings import get_settings
from model.training.batch_size_finder import (
    MAX_BATCH_SIZE,
    TrialResult,
    TrialWorker,
    find_batch_size,
)

RECIPE = Recipe(precision="f32")


@given(st.integers(1, 2 * MAX_BATCH_SIZE))
@settings(max_examples=200)
def test_largest_batch_is_found_to_within_an_eighth(limit: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrialWorker, "measure", lambda _, batch: 0.1 if batch <= limit else None)
        best, trials = find_batch_size(RECIPE)
    assert best <= limit
    assert best + max(1, best // 8) > min(limit, MAX_BATCH_SIZE)
    tried = [trial.batch for trial in trials]
    assert tried == sorted(set(tried))
    assert len(tried) <= 15
    assert TrialResult(best, 0.1) in trials
    assert all(1 <= batch <= MAX_BATCH_SIZE for batch in tried)


def test_search_stops_at_slow_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TrialWorker, "measure", lambda _, batch: 25.0 * batch)
    assert find_batch_size(RECIPE)[0] == 4


def test_no_fitting_batch_is_an_error_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrialWorker, "measure", lambda *_: None)
    with pytest.raises(InputError, match=r"batch=1 at 256 px does not fit .*image_size=128"):
        find_batch_size(RECIPE)
    smallest = RECIPE.model_copy(update={"image_size": 64})
    with pytest.raises(InputError, match=r"Try a smaller generator_width\."):
        find_batch_size(smallest)


@pytest.mark.parametrize(
    ("processes", "fits", "advised"),
    [
        ("2", 1, "--set batch=1 in at most 1 processes"),
        ("auto", MAX_BATCH_SIZE, f"--set batch={MAX_BATCH_SIZE}"),
    ],
)
def test_printed_batch_is_valid_for_the_processes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    processes: str,
    fits: int,
    advised: str,
) -> None:
    """Either two GPUs, or two processes without a GPU."""
    gpus = 0 if processes == "2" else 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setenv("ICANVAS_PROCESSES", processes)
    get_settings.cache_clear()
    monkeypatch.setattr(TrialWorker, "measure", lambda _, batch: 0.1 if batch <= fits else None)
    print_batch_sizes("demo", RECIPE)
    output = " ".join(capsys.readouterr().out.split())
    assert output.endswith(advised)
    assert "not compiled, a batch of" in output


@pytest.mark.slow
def test_command_runs_trials_until_memory_runs_out(own_cache: Path) -> None:
    limit = 700 << 20
    sizes = (
        *("image_size=256", "generator_width=16", "generator_blocks=1"),
        *("discriminator_width=4", "precision=f32"),
    )
    result = subprocess.run(
        [
            *(sys.executable, "-m", "cli", "train", "demo", "--find-batch"),
            *(word for size in sizes for word in ("--set", size)),
        ],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines() if re.match(r"\d", line)]
    fit = [int(row[0]) for row in rows if row[1] == "yes"]
    not_fit = [int(row[0]) for row in rows if row[1] == "no"]
    assert 1 <= max(fit) < min(not_fit) <= 32
    assert all(float(row[3]) > 0 for row in rows if row[1] == "yes")
    assert f"--set batch={max(fit)}" in result.stdout
    assert "at 256 px" in result.stdout
    assert f'"batch": {max(fit)}' in (own_cache / "batches.json").read_text()
