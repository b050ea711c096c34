"""HED in OpenCV's DNN module, on the CPU."""

import cv2
import numpy as np

from hed.engines.engine import Engine, Map, Options, Runner
from hed.plan import Plan
from hed.weights import Weights

# A network of its own takes memory, and beyond this many they wait for memory's bandwidth.
_MOST_WORKERS = 8


def create(weights: Weights, options: Options) -> Engine:
    """Return the engine; see ``create_engine``. OpenCV computes in float32 only."""
    workers = options.workers or min(options.cores, _MOST_WORKERS)
    threads = max(1, options.cores // workers)
    cv2.setNumThreads(threads)

    def make_runner(plan: Plan) -> Runner:
        graph = np.frombuffer(weights.graph(plan), np.uint8)
        # The classic engine is never the slower one for this graph (docs/decisions.md).
        net = cv2.dnn.readNetFromONNX(graph, engine=cv2.dnn.ENGINE_CLASSIC)

        def run(batch: Map) -> Map:
            edges = np.empty((len(batch), plan.rows.side, plan.columns.side), np.float32)
            for index in range(len(batch)):
                net.setInput(batch[index : index + 1])
                edges[index] = net.forward()[0, 0]
            return edges

        return run

    title = f"OpenCV {cv2.__version__}, f32, {workers} at once on {threads} thread(s) each"
    return Engine(title, make_runner, workers)
