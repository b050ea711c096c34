import base64
import io
import logging
import os
import re
import signal
import threading
from collections.abc import Callable
from importlib import import_module
from typing import NoReturn

import numpy as np
import pytest
from prefect.exceptions import TerminationSignal
from prefect.utilities.engine import capture_sigterm, is_prefect_sigterm_handler_installed
from rich.console import Console

from config.errors import InputError
from config.recipe import Recipe
from model.training.callbacks import TrainingCallbacks, TrainingStopped
from model.training.train import TrainedRun
from postprocess import encode_jpeg
from storage import LocalStore
from storage.runs import Run
from tasks.progress import show_progress
from tasks.train import render_artifact, run_until_signal, train


def make_grid(level: int) -> bytes:
    return encode_jpeg(np.full((8, 8, 3), level, np.uint8), quality=92)


def test_artifact_shows_grids_and_plot(store: LocalStore) -> None:
    run = Run(store, "tiny", "run")
    files = {
        "samples/epoch-0002.jpg": make_grid(10),
        "samples/sketches-0002.jpg": make_grid(90),
        "losses.png": b"a plot",
    }
    for name, data in files.items():
        run.put(name, data)
    for epoch, val_l1 in ((1, 0.3), (2, 0.25)):
        run.save_checkpoint(epoch, epoch, b"weights", {"val_l1": val_l1})
    locations = dict.fromkeys(["checkpoint", "samples", "metrics_file", "plot", "events"], "here")
    fields = {
        "dataset": "tiny",
        "run": "run",
        "pairs": "p",
        "num_blank": 0,
        "epochs": 2,
        "steps": 4,
    }
    for sketches, grids in ((None, ["samples/epoch-0002.jpg"]), ("there", list(files)[:2])):
        trained = TrainedRun(**fields, metrics={"l1": 0.25}, **locations, sketches=sketches)  # type: ignore[arg-type]
        text = render_artifact(trained, run, store)
        assert "| l1 | 0.2500 |" in text
        assert f"| `run/1` | 0.3000 | `{run.location('checkpoints/epoch-0001.pt')}` |" in text
        images = re.findall(r"!\[[^]]*\]\(data:image/\w+;base64,([^)]*)\)", text)
        expected = [files[name] for name in (*grids, "losses.png")]
        assert [base64.b64decode(image) for image in images] == expected


def send_signal_and_wait(number: int, should_stop: Callable[[], bool]) -> None:
    """Send a signal to this process, and wait as a run does that checks for it between steps."""
    assert not should_stop()
    os.kill(os.getpid(), number)
    event = threading.Event()
    while not should_stop():
        event.wait(0.01)


@pytest.mark.parametrize(
    ("number", "raised"),
    [(signal.SIGTERM, TerminationSignal), (signal.SIGINT, KeyboardInterrupt)],
)
def test_signal_is_raised_after_checkpoint_in_prefects_handler(
    number: int, raised: type[BaseException]
) -> None:
    events: list[str] = []
    passed_on: list[int] = []

    def learn(should_stop: Callable[[], bool]) -> NoReturn:
        send_signal_and_wait(number, should_stop)
        events.append("checkpoint saved")
        raise TrainingStopped

    def run() -> None:
        with capture_sigterm():
            try:
                run_until_signal(learn)
            finally:
                events.append("signal raised")
                # Otherwise Prefect would not accept that the worker canceled the run.
                assert is_prefect_sigterm_handler_installed()

    # Prefect passes SIGTERM on to the previous handler.
    previous_handler = signal.signal(signal.SIGTERM, lambda got, _: passed_on.append(got))
    try:
        with pytest.raises(raised):
            run()
    finally:
        signal.signal(signal.SIGTERM, previous_handler)
    assert events == ["checkpoint saved", "signal raised"]
    assert passed_on == [number] * (number == signal.SIGTERM)


def test_prefects_handler_stays_installed() -> None:
    handlers: list[object] = []

    def learn(_: Callable[[], bool]) -> int:
        handlers.append(signal.getsignal(signal.SIGTERM))
        return 7

    with capture_sigterm():
        prefect_handler = signal.getsignal(signal.SIGTERM)
        assert run_until_signal(learn) == 7
        assert handlers == [prefect_handler]


def test_error_replaces_signal() -> None:
    def learn(should_stop: Callable[[], bool]) -> NoReturn:
        send_signal_and_wait(signal.SIGINT, should_stop)
        raise InputError("no room for the checkpoint.")

    with pytest.raises(InputError, match="no room"):
        run_until_signal(learn)


def test_second_signal_is_not_delayed() -> None:
    go_on = threading.Event()

    def learn(should_stop: Callable[[], bool]) -> int:
        send_signal_and_wait(signal.SIGINT, should_stop)
        os.kill(os.getpid(), signal.SIGINT)
        go_on.wait(60)
        return 7

    with pytest.raises(KeyboardInterrupt):
        run_until_signal(learn)
    assert not go_on.is_set()
    go_on.set()


def test_upload_errors_are_shown_until_resolved(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    progress = import_module("tasks.progress")
    descriptions: list[str] = []
    printed = io.StringIO()

    def learn(*_: object, callbacks: TrainingCallbacks, **__: object) -> NoReturn:
        callbacks.on_step(1, 9)
        for message in ("the store is full.", ""):
            callbacks.on_upload_error(message)
            (task,) = progress._display.tasks
            descriptions.append(task.description)
        raise InputError("enough seen")

    task_module = import_module("tasks.train")
    monkeypatch.setattr(task_module, "train_alone", learn)
    monkeypatch.setattr(task_module, "get_run_logger", lambda: logging.getLogger("here"))
    with show_progress(Console(file=printed)), pytest.raises(InputError, match="enough"):
        train.fn("tiny", "pairs", Recipe(), store.url, force=False)
    assert descriptions == [
        "tiny: train (uploads fail and are retried, see the log)",
        "tiny: train",
    ]
    assert [line.getMessage() for line in caplog.records if line.name == "here"] == [
        "tiny: the store is full."
    ]
    assert "tiny: train: uploads fail and are retried" in printed.getvalue()


def test_metrics_and_stop_are_logged(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def learn(*_: object, callbacks: TrainingCallbacks, **__: object) -> NoReturn:
        callbacks.on_log({"epoch": 2, "step": 620, "lr": 0.1, "l1": 0.25})
        raise TrainingStopped("no step was taken yet")

    task_module = import_module("tasks.train")
    monkeypatch.setattr(task_module, "train_alone", learn)
    monkeypatch.setattr(task_module, "get_run_logger", lambda: logging.getLogger("here"))
    caplog.set_level(logging.INFO, "here")
    with pytest.raises(TrainingStopped):
        train.fn("tiny", "pairs", Recipe(), store.url, force=False)
    assert [line.getMessage() for line in caplog.records if line.name == "here"] == [
        "tiny: epoch 2, step 620, l1 0.2500",
        "Training stopped: no step was taken yet",
    ]
