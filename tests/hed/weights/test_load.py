"""Recognition of formats; any input gives weights or a one-line error."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hed.weights
from config.errors import InputError
from hed.weights import load_weights
from tests.hed.networks import THIN_CHANNELS, make_layers
from tests.hed.weights import files
from tests.hed.weights.conftest import LoadError, load_error

FORMATS = {
    "hed.weights.h5": "keras",
    "hed.caffemodel": "caffe",
    "network.pytorch": "pytorch",
    "older.pytorch": "pytorch",
    "ControlNetHED.pth": "controlnet",
    "custom.onnx": "onnx",
}


@pytest.mark.parametrize("name", FORMATS)
def test_format_is_recognized_by_content(
    name: str, weights_files: dict[str, Path], tmp_path: Path
) -> None:
    for other in ("weights", "weights.bin"):
        (tmp_path / other).symlink_to(weights_files[name])
        assert load_weights(tmp_path / other).format == FORMATS[name]


def test_ambiguous_content_is_recognized_by_name(
    weights_files: dict[str, Path], tmp_path: Path
) -> None:
    """Fields of a Protocol Buffer may come in any order."""
    model = files.make_custom_network()
    version = bytes([0x08, model.ir_version])
    model.ClearField("ir_version")
    reordered = tmp_path / "OWN.ONNX"
    reordered.write_bytes(model.SerializeToString() + version)
    assert load_weights(reordered).format == "onnx"


@pytest.mark.parametrize("start", ["<!DOCTYPE html>", "\ufeff\n <HTML lang='en'>"])
@pytest.mark.parametrize("name", ["hed.h5", "hed.caffemodel", "hed.onnx", "hed"])
def test_web_page_error_names_cause(start: str, name: str, error_for: LoadError) -> None:
    line = error_for(f"{start}<title>Drive - virus scan warning</title>".encode(), name)
    assert "FILE is a web page, not a weights file" in line
    assert "Download the file itself" in line


@pytest.mark.parametrize("content", [b"some text", b"\x89PNG\r\n", pickle.dumps({}, protocol=0)])
def test_unknown_format_error_lists_formats(content: bytes, error_for: LoadError) -> None:
    line = error_for(content, "file.h5")
    for form in (".weights.h5", ".caffemodel", ".pytorch", ".pth", ".onnx"):
        assert form in line


def test_unreadable_file_raises_input_error(tmp_path: Path, error_for: LoadError) -> None:
    assert "are not a regular file" in load_error(tmp_path)
    assert "No such file" in load_error(tmp_path / "missing.h5")
    assert "Not a directory" in load_error_below(tmp_path)
    for name in ("hed.h5", "hed.caffemodel", "custom.onnx"):
        assert "are an empty file" in error_for(b"", name)


def load_error_below(folder: Path) -> str:
    (folder / "file").touch()
    return load_error(folder / "file" / "hed.h5")


def test_file_over_2_gib_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "huge.h5"
    with path.open("wb") as file:
        file.write(b"\x89HDF\r\n\x1a\n")
        file.truncate((2 << 30) + 1)
    assert "larger than 2 GiB" in load_error(path)


@pytest.mark.parametrize("name", [*FORMATS, "first.caffemodel"])
def test_truncated_file_is_rejected(
    name: str, weights_files: dict[str, Path], tmp_path: Path
) -> None:
    size = weights_files[name].stat().st_size
    content = weights_files[name].read_bytes()
    truncated = tmp_path / name
    for length in (10, 600, size // 3, size - 100, size - 1):
        truncated.write_bytes(content[:length])
        load_error(truncated)


@pytest.fixture(scope="module")
def small_files() -> dict[str, bytes]:
    """Return a small_files file of every format, which is rejected at the first layer's shape."""
    thin = make_layers(0, THIN_CHANNELS)
    state = files.niklaus_state(thin)
    return {
        "hed.h5": files.write_keras(thin),
        "hed.caffemodel": files.write_caffe(thin),
        "first.caffemodel": files.write_caffe(thin, legacy=True),
        "network.pytorch": files.write_torch(state),
        "older.pytorch": files.write_torch(state, legacy=True),
        "hed.pth": files.write_torch(files.controlnet_state(thin)),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


def load_or_error(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    try:
        load_weights(path)
    except InputError as error:
        line = str(error)
        assert "\n" not in line
        assert str(path) in line


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_truncated_at_any_point_is_rejected_or_read(
    data: st.DataObject, small_files: dict[str, bytes], folder: Path
) -> None:
    custom = {"custom.onnx": files.make_custom_network().SerializeToString()}
    name = data.draw(st.sampled_from(sorted(small_files | custom)))
    content = (small_files | custom)[name]
    length = data.draw(st.integers(0, len(content) - 1))
    load_or_error(content[:length], folder / name)


@settings(max_examples=150, deadline=None)
@given(
    start=st.sampled_from(
        [b"", hed.weights._HDF5_MAGIC, hed.weights._ZIP_MAGIC, b"\x80\x02", b"\x08", b"\x0a"]
    ),
    rest=st.binary(max_size=300),
    name=st.sampled_from(["hed", "hed.h5", "hed.onnx", "hed.caffemodel", "hed.pth"]),
)
def test_any_bytes_give_one_line_error(start: bytes, rest: bytes, name: str, folder: Path) -> None:
    load_or_error(start + rest, folder / name)
