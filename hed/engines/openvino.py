"""HED in OpenVINO, on the CPU: in bfloat16 if the CPU supports it."""

import threading
from collections import OrderedDict

import numpy as np
import openvino

from hed.crop_plan import BORDER, CropPlan
from hed.engines.engine import BatchRunner, Float32Array, HedEngine, HedEngineOptions
from hed.weights import HedWeights

# Number of input sizes whose compiled networks are cached.
_MAX_COMPILED_SIZES = 8


def create(weights: HedWeights, options: HedEngineOptions) -> HedEngine:
    """Create the OpenVINO engine; see ``create_engine``.

    In throughput mode OpenVINO distributes the cores itself and reports how many concurrent
    requests keep them busy.
    """
    core = openvino.Core()
    bf16 = options.reduced_precision and "BF16" in core.get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    )
    hints: dict[str, object] = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "INFERENCE_NUM_THREADS": options.cores,
    }
    if options.workers:
        hints["PERFORMANCE_HINT_NUM_REQUESTS"] = options.workers
    compiled: OrderedDict[CropPlan, openvino.CompiledModel] = OrderedDict()
    lock = threading.Lock()

    def compile_for(plan: CropPlan) -> openvino.CompiledModel:
        with lock:
            if plan not in compiled:
                if len(compiled) >= _MAX_COMPILED_SIZES:
                    compiled.popitem(last=False)
                model = core.read_model(weights.build_onnx(plan))
                compiled[plan] = core.compile_model(model, "CPU", hints)
            compiled.move_to_end(plan)
            return compiled[plan]

    def make_runner(plan: CropPlan) -> BatchRunner:
        request = compile_for(plan).create_infer_request()

        def run(batch: Float32Array) -> Float32Array:
            edges = np.empty(
                (len(batch), plan.rows.output_size, plan.columns.output_size), np.float32
            )
            for index in range(len(batch)):
                request.start_async({0: batch[index : index + 1]}, share_inputs=True)
                request.wait()
                edges[index] = request.get_output_tensor().data[0, 0]
            return edges

        return run

    default_model = compile_for(weights.plan_crop(256, 256, BORDER))
    requests = default_model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    version = openvino.__version__.split("-")[0]
    description = f"OpenVINO {version}, {'bf16' if bf16 else 'f32'}, {requests} requests at once"
    return HedEngine(description, make_runner, requests)
