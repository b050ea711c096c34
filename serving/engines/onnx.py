"""ONNX Runtime on the CPU."""

import onnxruntime

from config.errors import IntegrityError
from serving.engines.engine import Array, GenerateFn, GeneratorEngine, GeneratorEngineOptions


def create(options: GeneratorEngineOptions) -> GeneratorEngine:
    """Return the engine. The workers, one a core by default, share the cores.

    Parameters
    ----------
    options : GeneratorEngineOptions
        ``cores`` and ``workers`` are used. The precision is float32.
    """
    workers = options.workers or options.cores
    threads = max(1, options.cores // workers)
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = threads
    # Spinning threads would take the cores from other work.
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def load(network: bytes, _side: int) -> GenerateFn:
        try:
            session = onnxruntime.InferenceSession(
                network, session_options, providers=["CPUExecutionProvider"]
            )
        # ONNX Runtime's exceptions have no common base class.
        except Exception as error:
            raise IntegrityError(f"ONNX Runtime cannot load the network: {error}") from error
        (input_name,) = (value.name for value in session.get_inputs())

        def generate(condition: Array) -> Array:
            (pictures,) = session.run(None, {input_name: condition[None]})
            picture: Array = pictures[0]
            return picture

        return generate

    return GeneratorEngine(
        f"ONNX Runtime {onnxruntime.__version__}, f32, {workers} at once on {threads} core(s) each",
        workers,
        "onnx",
        load,
    )
