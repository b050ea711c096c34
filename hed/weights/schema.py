"""The common form of all weights: HED's layers or a custom ONNX network, with their settings.

HED's layers are those of Xie and Tu, "Holistically-Nested Edge Detection" (2015), on VGG-16.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from config.errors import InputError
from hed.crop_plan import CropPlan, plan_axis
from hed.graph import BLOCKS, LAYERS, SIDE_OUTPUTS, ConvLayer, build_graph
from hed.weights.formatting import format_shape
from hed.weights.onnx_model import fix_input_size, plan_uncropped_axis

Shape = tuple[int, ...]
Mean = tuple[float, float, float]

# The mean that the authors subtract from blue, green and red.
MEAN_BGR: Mean = (104.00698793, 116.66876762, 122.67891434)
# The threshold of pix2pix's PostprocessHED.m, for the authors' weights.
AUTHORS_THRESHOLD = 25 / 255

_BLOCK_CHANNELS = (64, 128, 256, 512, 512)
_PART_NAMES = ("kernel", "bias")


def _compute_shapes() -> dict[str, tuple[Shape, Shape]]:
    shapes: dict[str, tuple[Shape, Shape]] = {}
    channels = 3
    for block, side, width in zip(BLOCKS, SIDE_OUTPUTS, _BLOCK_CHANNELS, strict=True):
        for name in block:
            shapes[name] = (width, channels, 3, 3), (width,)
            channels = width
        shapes[side] = (1, width, 1, 1), (1,)
    shapes["fuse"] = (1, len(SIDE_OUTPUTS), 1, 1), (1,)
    return shapes


# Layer -> shape of its kernel, O×I×H×W, and of its bias.
LAYER_SHAPES = _compute_shapes()


# Compared by identity: comparing arrays does not give a single bool.
@dataclass(frozen=True, eq=False)
class HedWeights:
    """An edge detection network with its preprocessing and threshold.

    Attributes
    ----------
    format : {"keras", "caffe", "pytorch", "controlnet", "onnx"}
        Format of the file.
    digest : str
        SHA-256 of the file, in hex.
    threshold : float in [0, 1] or None
        Edge threshold for these weights; None if unknown, in which case the user must pass one.
    layers : mapping of str to (ndarray, ndarray), or None
        Kernel (float32 O×I×H×W) and bias (float32 O) for every name in ``graph.LAYERS``; None for
        a custom ONNX network.
    model : bytes or None
        Content of the custom network's file; None for HED's layers.
    mean : tuple of three floats, 0 to 255
        Mean to subtract from the picture's blue, green and red channels.
    """

    format: str
    digest: str
    threshold: float | None
    layers: Mapping[str, ConvLayer] | None = None
    model: bytes | None = None
    mean: Mean = MEAN_BGR

    def resolve_threshold(self, override: float | None) -> float:
        """Return the given edge threshold, or the default one of these weights.

        Parameters
        ----------
        override : float in [0, 1] or None
            Threshold to use instead of the default one.

        Returns
        -------
        float

        Raises
        ------
        InputError
            If ``override`` is None and these weights have no default threshold.
        """
        threshold = self.threshold if override is None else override
        if threshold is None:
            raise InputError(
                f"HED weights {self.format}:{self.digest[:12]} have no default edge threshold. "
                "Pass --threshold, or determine one with `icanvas calibrate`."
            )
        return threshold

    def plan_crop(self, height: int, width: int, border: int) -> CropPlan:
        """Compute the crop plan for pictures of one size.

        Parameters
        ----------
        height, width : int, pixels
            Size of the picture.
        border : int, pixels, at least 0
            Reflected border. HED gets only the part that its output depends on; a custom network,
            whose receptive field is unknown, gets all of it.

        Returns
        -------
        CropPlan
        """
        axis = plan_axis if self.model is None else plan_uncropped_axis
        return CropPlan(axis(height, border), axis(width, border))

    def build_onnx(self, plan: CropPlan) -> bytes:
        """Return the network for one crop plan as a serialized ONNX model.

        Parameters
        ----------
        plan : CropPlan
            Result of ``plan_crop``.

        Returns
        -------
        bytes
            Its only input is float32 (1, 3, plan.rows.input_size, plan.columns.input_size), BGR
            minus ``mean``; its output ``edges`` is float32
            (1, 1, plan.rows.output_size, plan.columns.output_size).

        Raises
        ------
        InputError
            If a custom network's output does not have this size.
        """
        if self.model is not None:
            return fix_input_size(self.model, plan, f"The ONNX network {self.digest[:12]}…")
        assert self.layers is not None
        return build_graph(self.layers, plan)


def check_shape(layer: str, part: int, shape: Sequence[int], path: Path) -> None:
    """Check the declared shape of a layer's array before its values are read.

    Parameters
    ----------
    layer : str
        A name of ``graph.LAYERS``.
    part : {0, 1}
        0 for the kernel, 1 for the bias.
    shape : sequence of int
        The shape that the file declares, kernels as O×I×H×W.
    path : Path
        The file's location, for error messages.

    Raises
    ------
    InputError
        If HED has another shape there; the message contains both.
    """
    expected = LAYER_SHAPES[layer][part]
    if tuple(shape) != expected:
        raise InputError(
            f"HED weights {path}: the {_PART_NAMES[part]} of {layer} is {format_shape(shape)}, and "
            f"HED's is {format_shape(expected)}. The file holds another network; choose a file of "
            "HED on VGG-16."
        )


def check_layers(layers: Mapping[str, ConvLayer], path: Path) -> None:
    """Check that every layer of HED is present, has its shape, and is finite.

    Parameters
    ----------
    layers : mapping of str to (ndarray, ndarray)
        Kernel and bias by layer name.
    path : Path
        The file's location, for error messages.

    Raises
    ------
    InputError
        If a layer is missing or wrong; the message names the first one.
    """
    for name in LAYERS:
        if name not in layers:
            raise InputError(
                f"HED weights {path} lack the layer {name}. "
                "The file holds another network or is incomplete; choose a complete file of HED."
            )
        for part, values in enumerate(layers[name]):
            check_shape(name, part, values.shape, path)
            if not np.isfinite(values).all():
                raise InputError(
                    f"HED weights {path}: the {_PART_NAMES[part]} of {name} contains values that "
                    "are not finite. The file is damaged; download or save it again."
                )
