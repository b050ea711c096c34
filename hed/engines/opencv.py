"""HED in OpenCV's DNN module, on the CPU."""

import cv2
import numpy as np

from hed.crop_plan import CropPlan
from hed.engines.engine import BatchRunner, Float32Array, HedEngine, HedEngineOptions
from hed.weights import HedWeights


def create(weights: HedWeights, options: HedEngineOptions) -> HedEngine:
    """Create the OpenCV engine; see ``create_engine``. It always computes in float32."""
    # Default to one thread per network: networks that share OpenCV's one thread pool wait for it.
    workers = options.workers or options.cores
    threads = max(1, options.cores // workers)
    cv2.setNumThreads(threads)

    def make_runner(plan: CropPlan) -> BatchRunner:
        graph = np.frombuffer(weights.build_onnx(plan), np.uint8)
        # At least as fast as the new engine of OpenCV 5.0 (docs/decisions.md).
        net = cv2.dnn.readNetFromONNX(graph, engine=cv2.dnn.ENGINE_CLASSIC)

        def run(batch: Float32Array) -> Float32Array:
            edges = np.empty(
                (len(batch), plan.rows.output_size, plan.columns.output_size), np.float32
            )
            for index in range(len(batch)):
                net.setInput(batch[index : index + 1])
                edges[index] = net.forward()[0, 0]
            return edges

        return run

    description = f"OpenCV {cv2.__version__}, f32, {workers} at once on {threads} thread(s) each"
    return HedEngine(description, make_runner, workers)
