"""What every form of weights becomes: HED's layers, or a network of one's own, with its settings.

HED's layers are those of Xie and Tu, "Holistically-Nested Edge Detection" (2015), on VGG-16.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from config.errors import InputError
from hed.crop_plan import Plan, plan_axis
from hed.graph import BLOCKS, LAYERS, SIDES, Layer, build_graph
from hed.weights.formatting import write_shape
from hed.weights.onnx_model import fix_size, plan_whole

Shape = tuple[int, ...]
Mean = tuple[float, float, float]

# What the authors subtract from blue, green and red.
MEAN_BGR: Mean = (104.00698793, 116.66876762, 122.67891434)
# Where pix2pix's PostprocessHED.m cuts the edge maps of the authors' weights.
AUTHORS_THRESHOLD = 25 / 255

_WIDTHS = (64, 128, 256, 512, 512)
_PARTS = ("kernel", "bias")


def _list_shapes() -> dict[str, tuple[Shape, Shape]]:
    shapes: dict[str, tuple[Shape, Shape]] = {}
    channels = 3
    for block, side, width in zip(BLOCKS, SIDES, _WIDTHS, strict=True):
        for name in block:
            shapes[name] = (width, channels, 3, 3), (width,)
            channels = width
        shapes[side] = (1, width, 1, 1), (1,)
    shapes["fuse"] = (1, len(SIDES), 1, 1), (1,)
    return shapes


# For every layer the shape of its kernel, O×I×H×W, and of its bias.
SHAPES = _list_shapes()


# Compared by identity: arrays do not compare to one truth.
@dataclass(frozen=True, eq=False)
class Weights:
    """A network to find edges with, and what belongs to it.

    Attributes
    ----------
    form : ``keras``, ``caffe``, ``pytorch``, ``controlnet`` or ``onnx``.
    digest : SHA-256 (hex) of the file.
    threshold : the edge threshold in [0, 1] that goes with these weights; None where none is
        known, and whoever uses them must give one.
    layers : name -> (kernel float32 O×I×H×W, bias float32 O), for every name in ``graph.LAYERS``;
        None for an ONNX network of one's own.
    model : that network's file; None for HED's layers.
    mean : what to subtract from the picture's blue, green and red, 0 to 255.
    """

    form: str
    digest: str
    threshold: float | None
    layers: Mapping[str, Layer] | None = None
    model: bytes | None = None
    mean: Mean = MEAN_BGR

    def threshold_or(self, given: float | None) -> float:
        """Return a given edge threshold, or the one that goes with these weights.

        Raises
        ------
        InputError
            If none is given and none is known.
        """
        threshold = self.threshold if given is None else given
        if threshold is None:
            raise InputError(
                f"HED weights {self.form}:{self.digest[:12]} have no edge threshold of their own. "
                "Prepare with --threshold, or find one with `icanvas calibrate`."
            )
        return threshold

    def plan(self, height: int, width: int, border: int) -> Plan:
        """Return what to compute for pictures of one size.

        Parameters
        ----------
        height, width : the picture's, in pixels.
        border : reflected pixels around it. HED is spared what it does not depend on; of a network
            of one's own nothing is known, and it is given all.
        """
        axis = plan_axis if self.model is None else plan_whole
        return Plan(axis(height, border), axis(width, border))

    def graph(self, plan: Plan) -> bytes:
        """Return the network for one size as a serialised ONNX model.

        Returns
        -------
        bytes
            One input float32 (1, 3, plan.rows.input, plan.columns.input), BGR minus ``mean``;
            output ``edges`` float32 (1, 1, plan.rows.side, plan.columns.side).

        Raises
        ------
        InputError
            If a network of one's own has no such output for this size.
        """
        if self.model is not None:
            return fix_size(self.model, plan, f"The ONNX network {self.digest[:12]}…")
        assert self.layers is not None
        return build_graph(self.layers, plan)


def check_shape(layer: str, part: int, found: Sequence[int], path: Path) -> None:
    """Hold a layer's shape against HED's, before its values are read.

    Parameters
    ----------
    layer : a name of ``graph.LAYERS``.
    part : 0 for the kernel, 1 for the bias.
    found : the shape the file declares, kernels as O×I×H×W.

    Raises
    ------
    InputError
        If it is another one; the message names both.
    """
    wanted = SHAPES[layer][part]
    if tuple(found) != wanted:
        raise InputError(
            f"HED weights {path}: the {_PARTS[part]} of {layer} is {write_shape(found)}, and "
            f"HED's is {write_shape(wanted)}. The file is of another network; choose one of HED on "
            "VGG-16."
        )


def check_layers(layers: Mapping[str, Layer], path: Path) -> None:
    """Check that every layer of HED is there, of its shape, and finite.

    Raises
    ------
    InputError
        If not; the message names the first layer that is wrong.
    """
    for name in LAYERS:
        if name not in layers:
            raise InputError(
                f"HED weights {path} lack the layer {name}. "
                "The file is of another network or incomplete; choose one with all of HED."
            )
        for part, values in enumerate(layers[name]):
            check_shape(name, part, values.shape, path)
            if not np.isfinite(values).all():
                raise InputError(
                    f"HED weights {path}: the {_PARTS[part]} of {name} holds values that are not "
                    "finite. The file is damaged; fetch or save it again."
                )
