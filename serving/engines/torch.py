"""PyTorch: batches in bfloat16 on a GPU; single drawings in float32 on a CPU, as a reference."""

from contextlib import nullcontext

import torch

from config.errors import InputError
from model.device import choose_device, supports_bf16
from model.export.serialization import load_generator
from serving.engines.batching import Batcher
from serving.engines.engine import Array, GenerateFn, GeneratorEngine, GeneratorEngineOptions


def create(options: GeneratorEngineOptions) -> GeneratorEngine:
    """Return the engine.

    Parameters
    ----------
    options : GeneratorEngineOptions
        ``workers``, ``max_batch_size``, ``allow_bf16`` and ``on_batch`` are used.
    """
    device = choose_device()
    on_gpu = device.type == "cuda"
    # On a CPU always float32: tests compare the other engines with it.
    bf16 = on_gpu and options.allow_bf16 and supports_bf16(device)
    max_batch_size = options.max_batch_size if on_gpu else 1

    def load(weights: bytes, side: int) -> GenerateFn:
        generator, _ = load_generator(weights)
        generator.to(device)

        def run_batch(conditions: Array) -> Array:
            batch = torch.from_numpy(conditions).to(device)
            autocast = torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()
            try:
                with torch.inference_mode(), autocast:
                    pictures: Array = generator(batch).float().cpu().numpy()
            except torch.OutOfMemoryError:
                raise InputError(
                    f"The GPU's memory is too small for {len(conditions)} drawings of {side} px "
                    "at once. Lower ICANVAS_SERVE_MAX_BATCH_SIZE."
                ) from None
            return pictures

        return Batcher(run_batch, max_batch_size, options.on_batch)

    name = torch.cuda.get_device_name() if on_gpu else "CPU"
    precision = "bf16" if bf16 else "f32"
    return GeneratorEngine(
        f"PyTorch {torch.__version__}, {precision}, {name}, batches of {max_batch_size}",
        # Two batches, so that one is prepared while the other runs.
        options.workers or 2 * max_batch_size,
        "safetensors",
        load,
    )
