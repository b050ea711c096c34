"""HED in OpenCV's DNN module."""

import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from hed.graph import build_graph
from hed.weights import Weights

# Nets kept per thread, one an input size: pictures of one data set share one size.
_KEPT_SIZES = 4


class OpenCVEngine:
    """Runs the graph picture by picture, on the CPU.

    A ``cv2.dnn.Net`` is not thread-safe and is made for one input size, so every thread keeps its
    own, one for each of the last few sizes. OpenCV releases the interpreter's lock meanwhile.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._local = threading.local()

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map float32 (N, 3, H, W) to float32 (N, H, W); see ``hed.engines.Engine``."""
        net = self._net(batch.shape[2], batch.shape[3])
        edges = np.empty((batch.shape[0], *batch.shape[2:]), np.float32)
        for index in range(batch.shape[0]):
            net.setInput(batch[index : index + 1])
            edges[index] = net.forward()[0, 0]
        return edges

    def _net(self, height: int, width: int) -> cv2.dnn.Net:
        nets: dict[tuple[int, int], cv2.dnn.Net] = self._local.__dict__.setdefault("nets", {})
        net = nets.pop((height, width), None)
        if net is None:
            graph = build_graph(self._weights.layers, height, width)
            # The classic engine is the faster one for this graph (docs/decisions.md).
            net = cv2.dnn.readNetFromONNX(
                np.frombuffer(graph, np.uint8), engine=cv2.dnn.ENGINE_CLASSIC
            )
            while len(nets) >= _KEPT_SIZES:
                del nets[next(iter(nets))]
        nets[(height, width)] = net
        return net
