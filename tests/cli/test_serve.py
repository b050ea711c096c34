import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from postprocess import encode_png
from storage import LocalStore
from tests.cli.test_app import ICANVAS, icanvas
from tests.serving.exports import draw_outline, make, promote

_ANY = ["--port", "0", "--allow-root", "--engine", "onnxruntime"]


class Process:
    """``icanvas serve``, with what it printed so far."""

    def __init__(self, started: "subprocess.Popen[bytes]") -> None:
        self.started = started
        self.printed = ""

    def wait_for(self, pattern: str, seconds: float = 120) -> re.Match[str]:
        """Return where the pattern is found in what it prints."""
        assert self.started.stdout is not None
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.printed)
            if found:
                return found
            assert time.monotonic() < end, self.printed
            if select.select([self.started.stdout], [], [], 0.1)[0]:
                data = os.read(self.started.stdout.fileno(), 1 << 16)
                assert data, self.printed
                self.printed += data.decode()


@contextmanager
def serving(store: LocalStore, *words: str) -> Iterator[Process]:
    started = subprocess.Popen(
        [*ICANVAS, "serve", *_ANY, "--store", store.url, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield Process(started)
    finally:
        started.kill()
        started.wait()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_it_tells_where_it_is_draws_and_ends_when_asked(
    store: LocalStore, number: signal.Signals
) -> None:
    export = promote(store, "shoes", make(0)).export
    with serving(store) as process:
        address = process.wait_for(r"drawing page +(http://127\.0\.0\.1:\d+/)\n")[1]
        process.wait_for(rf"shoes: version {export} of run run, epoch 1, is served")
        answer = httpx.post(
            f"{address}v1/models/shoes/generate",
            content=encode_png(draw_outline(0)),
            headers={"Content-Type": "image/png"},
            timeout=60,
        )
        assert answer.status_code == 200
        process.started.send_signal(number)
        assert process.started.wait(60) == 0
        process.wait_for("All that was accepted is answered")


@pytest.mark.slow
def test_what_cannot_work_is_told_in_a_line(store: LocalStore) -> None:
    with serving(store) as process:
        port = process.wait_for(r"drawing page +http://127\.0\.0\.1:(\d+)/")[1]
        for words, environment, says in (
            (["--port", port, "--allow-root"], {}, "Choose another with --host"),
            (["--host", "no.such.host.invalid", "--allow-root"], {}, "cannot listen"),
            (["--engine", "magic", "--allow-root"], {}, "ICANVAS_SERVE_ENGINE"),
            (["--allow-root"], {"ICANVAS_SERVE_KEY_FILE": "/nowhere"}, "cannot be read"),
        ):
            ended = icanvas("serve", *words, "--store", store.url, **environment)
            assert ended.returncode == 2, ended.stderr
            assert says in ended.stderr
            assert len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_is_refused_unless_it_is_wanted(store: LocalStore) -> None:
    ended = icanvas("serve", "--port", "0", "--store", store.url)
    assert ended.returncode == 2
    assert "does not run as root" in ended.stderr
