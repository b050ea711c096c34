"""Generators in OpenVINO, on the CPU: bfloat16 where the CPU computes in it."""

from queue import SimpleQueue

import openvino

from config.errors import IntegrityError
from serving.engines.engine import Array, GenerateFn, GeneratorEngine, GeneratorEngineOptions


def create(options: GeneratorEngineOptions) -> GeneratorEngine:
    """Return the engine: as many drawings at once as there are workers, one core each by default.

    Several drawings in one batch are no quicker than one after another.
    """
    core = openvino.Core()
    bf16 = options.allow_bf16 and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precision = "bf16" if bf16 else "f32"
    workers = options.workers or options.cores
    hints: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": max(options.cores, workers),
        "NUM_STREAMS": workers,
    }

    def load(network: bytes, side: int) -> GenerateFn:
        try:
            model = core.read_model(network)
            # Of one size it is compiled ahead, and not at the first drawing.
            model.reshape([1, 1, side, side])
            compiled = core.compile_model(model, "CPU", hints)
        except RuntimeError as error:
            raise IntegrityError(f"OpenVINO does not take the network: {error}") from error
        # A request is for one thread at a time.
        free_requests: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(workers):
            free_requests.put(compiled.create_infer_request())

        def generate(condition: Array) -> Array:
            request = free_requests.get()
            try:
                request.start_async({0: condition[None]}, share_inputs=True)
                request.wait()
                picture: Array = request.get_output_tensor().data[0].copy()
            finally:
                free_requests.put(request)
            return picture

        return generate

    version = openvino.__version__.split("-")[0]
    return GeneratorEngine(
        f"OpenVINO {version}, {precision}, {workers} at once on {options.cores} core(s)",
        workers,
        "network",
        load,
    )
