"""HED in OpenCV's DNN module, on the CPU."""

import cv2
import numpy as np

from hed.crop_plan import Plan
from hed.engines.engine import Engine, Map, Options, Runner
from hed.weights import Weights


def create(weights: Weights, options: Options) -> Engine:
    """Return the engine; see ``create_engine``. OpenCV computes in float32 only."""
    # One thread each: OpenCV has one pool of helpers, which networks that share it wait for.
    workers = options.workers or options.cores
    threads = max(1, options.cores // workers)
    cv2.setNumThreads(threads)

    def make_runner(plan: Plan) -> Runner:
        graph = np.frombuffer(weights.graph(plan), np.uint8)
        # As quick as the new engine in OpenCV 5.0, or quicker (docs/decisions.md).
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
