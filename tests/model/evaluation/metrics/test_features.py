import numpy as np
import pytest
from skimage import data

from model.evaluation.metrics import features
from model.evaluation.metrics.features import FeatureExtractor, has_feature_extractor

pytestmark = pytest.mark.skipif(not has_feature_extractor(), reason="needs the extra kid")


def test_the_network_sees_what_is_there() -> None:
    """With wrong colours, padding or scale it would take neither for what it is."""
    seen = FeatureExtractor()
    for picture, classes in ((data.chelsea(), {281, 282, 285}), (data.coffee(), {967, 504})):
        found = seen.extract(picture)
        assert found.shape == (1280,) and found.dtype == np.float32
        assert found.min() >= 0 and found.max() <= 6
        scores = seen._network._fc.weight.numpy() @ found + seen._network._fc.bias.numpy()
        assert int(scores.argmax()) in classes
        assert (seen.extract(picture) == found).all()


def test_without_the_extra_it_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    assert not has_feature_extractor()
