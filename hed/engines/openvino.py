"""HED in OpenVINO, on the CPU: bfloat16 where the CPU computes in it."""

import threading
from collections import OrderedDict

import numpy as np
import openvino

from hed.crop_plan import BORDER, Plan
from hed.engines.engine import Engine, Map, Options, Runner
from hed.weights import Weights

# Sizes whose compiled networks are kept.
_KEPT = 8


def create(weights: Weights, options: Options) -> Engine:
    """Return the engine; see ``create_engine``.

    In throughput mode OpenVINO shares out the cores itself, and tells how many requests at once
    keep them busy.
    """
    core = openvino.Core()
    bf16 = options.fast and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    hints: dict[str, object] = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "INFERENCE_NUM_THREADS": options.cores,
    }
    if options.workers:
        hints["PERFORMANCE_HINT_NUM_REQUESTS"] = options.workers
    compiled: OrderedDict[Plan, openvino.CompiledModel] = OrderedDict()
    lock = threading.Lock()

    def compile_for(plan: Plan) -> openvino.CompiledModel:
        with lock:
            if plan not in compiled:
                if len(compiled) >= _KEPT:
                    compiled.popitem(last=False)
                model = core.read_model(weights.graph(plan))
                compiled[plan] = core.compile_model(model, "CPU", hints)
            compiled.move_to_end(plan)
            return compiled[plan]

    def make_runner(plan: Plan) -> Runner:
        request = compile_for(plan).create_infer_request()

        def run(batch: Map) -> Map:
            edges = np.empty((len(batch), plan.rows.side, plan.columns.side), np.float32)
            for index in range(len(batch)):
                request.start_async({0: batch[index : index + 1]}, share_inputs=True)
                request.wait()
                edges[index] = request.get_output_tensor().data[0, 0]
            return edges

        return run

    usual = compile_for(weights.plan(256, 256, BORDER))
    requests = usual.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    version = openvino.__version__.split("-")[0]
    title = f"OpenVINO {version}, {'bf16' if bf16 else 'f32'}, {requests} requests at once"
    return Engine(title, make_runner, requests)
