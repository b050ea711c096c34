"""Generators in OpenVINO, on the CPU: bfloat16 where the CPU computes in it."""

from queue import SimpleQueue

import openvino

from config.errors import IntegrityError
from serving.engines.engine import Array, Draw, Engine, Options


def create(options: Options) -> Engine:
    """Return the engine: as many drawings at once as there are workers, one core each by default.

    Several drawings in one batch are no quicker than one after another.
    """
    core = openvino.Core()
    bf16 = options.fast and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precision = "bf16" if bf16 else "f32"
    workers = options.workers or options.cores
    hints: dict[str, object] = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": max(options.cores, workers),
        "NUM_STREAMS": workers,
    }

    def load(network: bytes, side: int) -> Draw:
        try:
            model = core.read_model(network)
            # Of one size it is compiled ahead, and not at the first drawing.
            model.reshape([1, 1, side, side])
            compiled = core.compile_model(model, "CPU", hints)
        except RuntimeError as error:
            raise IntegrityError(f"OpenVINO does not take the network: {error}") from error
        # A request is for one thread at a time.
        free: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(workers):
            free.put(compiled.create_infer_request())

        def draw(condition: Array) -> Array:
            request = free.get()
            try:
                request.start_async({0: condition[None]}, share_inputs=True)
                request.wait()
                picture: Array = request.get_output_tensor().data[0].copy()
            finally:
                free.put(request)
            return picture

        return draw

    version = openvino.__version__.split("-")[0]
    return Engine(
        f"OpenVINO {version}, {precision}, {workers} at once on {options.cores} core(s)",
        workers,
        "network",
        load,
    )
