"""OpenVINO on the CPU, in bfloat16 if the CPU supports it."""

from queue import SimpleQueue

import openvino

from config.errors import IntegrityError
from serving.engines.engine import Array, GenerateFn, GeneratorEngine, GeneratorEngineOptions


def create(options: GeneratorEngineOptions) -> GeneratorEngine:
    """Return the engine. Every worker runs one drawing at a time, on one core by default.

    Batches are not used: on a CPU they are no faster than single drawings.

    Parameters
    ----------
    options : GeneratorEngineOptions
        ``cores``, ``workers`` and ``allow_bf16`` are used.
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
            # With a fixed shape it is compiled here, not at the first drawing.
            model.reshape([1, 1, side, side])
            compiled = core.compile_model(model, "CPU", hints)
        except RuntimeError as error:
            raise IntegrityError(f"OpenVINO cannot load the network: {error}") from error
        # An inference request must be used by one thread at a time.
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
        "onnx",
        load,
    )
