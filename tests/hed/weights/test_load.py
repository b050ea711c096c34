"""How a form is recognised, and that whatever is given ends in weights or one line."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hed.weights
from config.errors import InputError
from hed.weights import load_weights
from tests.hed.networks import THIN, make_layers
from tests.hed.weights import files
from tests.hed.weights.conftest import Refuse, refusal

FORMS = {
    "hed.weights.h5": "keras",
    "hed.caffemodel": "caffe",
    "network.pytorch": "pytorch",
    "older.pytorch": "pytorch",
    "ControlNetHED.pth": "controlnet",
    "own.onnx": "onnx",
}


@pytest.mark.parametrize("name", FORMS)
def test_the_content_tells_the_form(name: str, forms: dict[str, Path], tmp_path: Path) -> None:
    for other in ("weights", "weights.bin"):
        (tmp_path / other).symlink_to(forms[name])
        assert load_weights(tmp_path / other).form == FORMS[name]


def test_where_content_tells_little_the_name_decides(
    forms: dict[str, Path], tmp_path: Path
) -> None:
    """A Protocol Buffer's fields may come in any order."""
    model = files.make_own()
    version = bytes([0x08, model.ir_version])
    model.ClearField("ir_version")
    turned = tmp_path / "OWN.ONNX"
    turned.write_bytes(model.SerializeToString() + version)
    assert load_weights(turned).form == "onnx"


@pytest.mark.parametrize("start", ["<!DOCTYPE html>", "\ufeff\n <HTML lang='en'>"])
@pytest.mark.parametrize("name", ["hed.h5", "hed.caffemodel", "hed.onnx", "hed"])
def test_a_web_page_is_called_that(start: str, name: str, refuse: Refuse) -> None:
    line = refuse(f"{start}<title>Drive - virus scan warning</title>".encode(), name)
    assert "FILE is a web page, not weights" in line
    assert "Download the file itself" in line


@pytest.mark.parametrize("content", [b"some text", b"\x89PNG\r\n", pickle.dumps({}, protocol=0)])
def test_other_files_are_told_what_is_taken(content: bytes, refuse: Refuse) -> None:
    line = refuse(content, "file.h5")
    for form in (".weights.h5", ".caffemodel", ".pytorch", ".pth", ".onnx"):
        assert form in line


def test_what_is_no_file_is_told(tmp_path: Path, refuse: Refuse) -> None:
    assert "are no regular file" in refusal(tmp_path)
    assert "No such file" in refusal(tmp_path / "missing.h5")
    assert "Not a directory" in refuse_below(tmp_path)
    for name in ("hed.h5", "hed.caffemodel", "own.onnx"):
        assert "are an empty file" in refuse(b"", name)


def refuse_below(folder: Path) -> str:
    (folder / "file").touch()
    return refusal(folder / "file" / "hed.h5")


def test_files_beyond_2_gib_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.h5"
    with path.open("wb") as file:
        file.write(b"\x89HDF\r\n\x1a\n")
        file.truncate((2 << 30) + 1)
    assert "larger than 2 GiB" in refusal(path)


@pytest.mark.parametrize("name", [*FORMS, "first.caffemodel"])
def test_a_file_cut_short_is_refused(name: str, forms: dict[str, Path], tmp_path: Path) -> None:
    size = forms[name].stat().st_size
    content = forms[name].read_bytes()
    cut = tmp_path / name
    for kept in (10, 600, size // 3, size - 100, size - 1):
        cut.write_bytes(content[:kept])
        refusal(cut)


@pytest.fixture(scope="module")
def small() -> dict[str, bytes]:
    """Every form in small: read as far as the first layer's shape, then refused."""
    thin = make_layers(0, THIN)
    state = files.niklaus_state(thin)
    return {
        "hed.h5": files.write_keras(thin),
        "hed.caffemodel": files.write_caffe(thin),
        "first.caffemodel": files.write_caffe(thin, first=True),
        "network.pytorch": files.write_torch(state),
        "older.pytorch": files.write_torch(state, legacy=True),
        "hed.pth": files.write_torch(files.controlnet_state(thin)),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


def refused_or_read(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    try:
        load_weights(path)
    except InputError as error:
        line = str(error)
        assert "\n" not in line
        assert str(path) in line


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_cut_of_any_form_is_refused(
    data: st.DataObject, small: dict[str, bytes], folder: Path
) -> None:
    own = {"own.onnx": files.make_own().SerializeToString()}
    name = data.draw(st.sampled_from(sorted(small | own)))
    content = (small | own)[name]
    kept = data.draw(st.integers(0, len(content) - 1))
    refused_or_read(content[:kept], folder / name)


@settings(max_examples=150, deadline=None)
@given(
    start=st.sampled_from(
        [b"", hed.weights._HDF5, hed.weights._ZIP, b"\x80\x02", b"\x08", b"\x0a"]
    ),
    rest=st.binary(max_size=300),
    name=st.sampled_from(["hed", "hed.h5", "hed.onnx", "hed.caffemodel", "hed.pth"]),
)
def test_any_bytes_end_in_one_line(start: bytes, rest: bytes, name: str, folder: Path) -> None:
    refused_or_read(start + rest, folder / name)
