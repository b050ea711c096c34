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
from tests.cli.test_app import ICANVAS_COMMAND, run_icanvas
from tests.serving.exports import draw_outline, export_random_generator, promote

_OPTIONS = ["--port", "0", "--allow-root", "--engine", "onnxruntime"]


class ServerProcess:
    """``icanvas serve``, with what it has printed so far."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.output = ""

    def wait_for(self, pattern: str, seconds: float = 120) -> re.Match[str]:
        """Wait until the output matches the pattern, and return the match."""
        assert self.process.stdout is not None
        end = time.monotonic() + seconds
        while True:
            match = re.search(pattern, self.output)
            if match:
                return match
            assert time.monotonic() < end, self.output
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                data = os.read(self.process.stdout.fileno(), 1 << 16)
                assert data, self.output
                self.output += data.decode()


@contextmanager
def run_server(store: LocalStore, *arguments: str) -> Iterator[ServerProcess]:
    process = subprocess.Popen(
        [*ICANVAS_COMMAND, "serve", *_OPTIONS, "--store", store.url, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield ServerProcess(process)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_prints_its_address_generates_and_exits_on_signals(
    store: LocalStore, number: signal.Signals
) -> None:
    export = promote(store, "shoes", export_random_generator(0)).export
    with run_server(store) as server:
        address = server.wait_for(r"drawing page +(http://127\.0\.0\.1:\d+/)\n")[1]
        server.wait_for(rf"shoes: loaded version {export} \(run run, epoch 1\)")
        answer = httpx.post(
            f"{address}v1/models/shoes/generate",
            content=encode_png(draw_outline(0)),
            headers={"Content-Type": "image/png"},
            timeout=60,
        )
        assert answer.status_code == 200
        server.process.send_signal(number)
        assert server.process.wait(60) == 0
        server.wait_for("All accepted requests were answered")


@pytest.mark.slow
def test_invalid_settings_print_one_line(store: LocalStore) -> None:
    with run_server(store) as server:
        port = server.wait_for(r"drawing page +http://127\.0\.0\.1:(\d+)/")[1]
        for arguments, environment, expected in (
            (["--port", port, "--allow-root"], {}, "Choose another with --host"),
            (["--host", "no.such.host.invalid", "--allow-root"], {}, "cannot listen"),
            (["--engine", "magic", "--allow-root"], {}, "ICANVAS_SERVE_ENGINE"),
            (["--allow-root"], {"ICANVAS_SERVE_KEY_FILE": "/nowhere"}, "cannot be read"),
        ):
            result = run_icanvas("serve", *arguments, "--store", store.url, **environment)
            assert result.returncode == 2, result.stderr
            assert expected in result.stderr
            assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_is_refused_without_allow_root(store: LocalStore) -> None:
    result = run_icanvas("serve", "--port", "0", "--store", store.url)
    assert result.returncode == 2
    assert "does not run as root" in result.stderr
