"""Generators in ONNX Runtime, on the CPU, where OpenVINO is not installed."""

import onnxruntime

from config.errors import IntegrityError
from serving.engines.engine import Array, Draw, Engine, Options


def create(options: Options) -> Engine:
    """Return the engine: as many drawings at once as there are workers, which share the cores."""
    workers = options.workers or options.cores
    threads = max(1, options.cores // workers)
    asked = onnxruntime.SessionOptions()
    asked.intra_op_num_threads = threads
    # Threads that spin while they wait take the cores from everything else.
    asked.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def load(network: bytes, _side: int) -> Draw:
        try:
            session = onnxruntime.InferenceSession(
                network, asked, providers=["CPUExecutionProvider"]
            )
        # Its classes of errors have no other base.
        except Exception as error:
            raise IntegrityError(f"ONNX Runtime does not take the network: {error}") from error
        (taken,) = (value.name for value in session.get_inputs())

        def draw(condition: Array) -> Array:
            (pictures,) = session.run(None, {taken: condition[None]})
            picture: Array = pictures[0]
            return picture

        return draw

    return Engine(
        f"ONNX Runtime {onnxruntime.__version__}, f32, {workers} at once on {threads} core(s) each",
        workers,
        "network",
        load,
    )
