import numpy as np
import pytest
from skimage import data

from model.evaluation.metrics import features
from model.evaluation.metrics.features import FeatureExtractor, has_feature_extractor

pytestmark = pytest.mark.skipif(not has_feature_extractor(), reason="needs the extra kid")


def test_network_classifies_known_pictures() -> None:
    """With wrong colors, padding or scale the classes would be wrong."""
    extractor = FeatureExtractor()
    for picture, classes in ((data.chelsea(), {281, 282, 285}), (data.coffee(), {967, 504})):
        values = extractor.extract(picture)
        assert values.shape == (1280,) and values.dtype == np.float32
        assert values.min() >= 0 and values.max() <= 6
        scores = (
            extractor._network._fc.weight.numpy() @ values + extractor._network._fc.bias.numpy()
        )
        assert int(scores.argmax()) in classes
        assert (extractor.extract(picture) == values).all()


def test_extractor_requires_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    assert not has_feature_extractor()
