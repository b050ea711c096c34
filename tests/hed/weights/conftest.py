"""Files of HED's real shapes are 59 MB each: written once, for all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from config.errors import InputError
from hed.weights import load_weights
from tests.hed.networks import Layers, make_layers
from tests.hed.weights import files

Refuse = Callable[..., str]


@pytest.fixture(scope="session")
def layers() -> Layers:
    return make_layers(0)


@pytest.fixture(scope="session")
def forms(layers: Layers, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file of each form, all of the same layers."""
    folder = tmp_path_factory.mktemp("forms")
    contents: dict[str, Callable[[], bytes]] = {
        "hed.weights.h5": lambda: files.write_keras(layers),
        "hed.caffemodel": lambda: files.write_caffe(layers),
        "first.caffemodel": lambda: files.write_caffe(layers, first=True),
        "network.pytorch": lambda: files.write_torch(files.niklaus_state(layers)),
        "older.pytorch": lambda: files.write_torch(
            files.niklaus_state(layers, "module"), legacy=True
        ),
        "ControlNetHED.pth": lambda: files.write_torch(
            files.controlnet_state(layers, torch.float16)
        ),
        "own.onnx": lambda: files.make_own().SerializeToString(),
    }
    for name, write in contents.items():
        (folder / name).write_bytes(write())
    return {name: folder / name for name in contents}


@pytest.fixture
def refuse(tmp_path: Path) -> Refuse:
    """Return what gives bytes to the reader and returns the one line they are refused with."""

    def give(content: bytes, name: str) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return refusal(path)

    return give


def refusal(path: Path) -> str:
    """Return the line that a file is refused with."""
    with pytest.raises(InputError) as caught:
        load_weights(path)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path) in line
    assert len(line) < 200 + 300, "more than a line"
    return line.replace(str(path), "FILE")
