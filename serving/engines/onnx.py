"""Generators in ONNX Runtime, on the CPU, where OpenVINO is not installed."""

import onnxruntime

from config.errors import IntegrityError
from serving.engines.engine import Array, GenerateFn, GeneratorEngine, GeneratorEngineOptions


def create(options: GeneratorEngineOptions) -> GeneratorEngine:
    """Return the engine: as many drawings at once as there are workers, which share the cores."""
    workers = options.workers or options.cores
    threads = max(1, options.cores // workers)
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = threads
    # Threads that spin while they wait take the cores from everything else.
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def load(network: bytes, _side: int) -> GenerateFn:
        try:
            session = onnxruntime.InferenceSession(
                network, session_options, providers=["CPUExecutionProvider"]
            )
        # Its classes of errors have no other base.
        except Exception as error:
            raise IntegrityError(f"ONNX Runtime does not take the network: {error}") from error
        (input_name,) = (value.name for value in session.get_inputs())

        def generate(condition: Array) -> Array:
            (pictures,) = session.run(None, {input_name: condition[None]})
            picture: Array = pictures[0]
            return picture

        return generate

    return GeneratorEngine(
        f"ONNX Runtime {onnxruntime.__version__}, f32, {workers} at once on {threads} core(s) each",
        workers,
        "network",
        load,
    )
