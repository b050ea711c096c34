"""Fixtures with one weights file of each format. They have 59 MB each and are written once."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from config.errors import InputError
from hed.weights import load_weights
from tests.hed.networks import Layers, make_layers
from tests.hed.weights import files

LoadError = Callable[..., str]


@pytest.fixture(scope="session")
def layers() -> Layers:
    return make_layers(0)


@pytest.fixture(scope="session")
def weights_files(layers: Layers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return one file of each format, all with the same layers."""
    folder = tmp_path_factory.mktemp("weights")
    contents: dict[str, Callable[[], bytes]] = {
        "hed.weights.h5": lambda: files.write_keras(layers),
        "hed.caffemodel": lambda: files.write_caffe(layers),
        "first.caffemodel": lambda: files.write_caffe(layers, legacy=True),
        "network.pytorch": lambda: files.write_torch(files.niklaus_state(layers)),
        "older.pytorch": lambda: files.write_torch(
            files.niklaus_state(layers, "module"), legacy=True
        ),
        "ControlNetHED.pth": lambda: files.write_torch(
            files.controlnet_state(layers, torch.float16)
        ),
        "custom.onnx": lambda: files.make_custom_network().SerializeToString(),
    }
    for name, write in contents.items():
        (folder / name).write_bytes(write())
    return {name: folder / name for name in contents}


@pytest.fixture
def error_for(tmp_path: Path) -> LoadError:
    """Return a function that writes a file and returns the error that loading it raises."""

    def load(content: bytes, name: str) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return load_error(path)

    return load


def load_error(path: Path) -> str:
    """Return the one-line error that loading a file raises."""
    with pytest.raises(InputError) as caught:
        load_weights(path)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    assert len(line) < 200 + 300, "longer than a line"
    return line.replace(str(path), "FILE")
