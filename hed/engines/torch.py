"""HED in PyTorch: batches on a GPU; on a CPU it serves to compare."""

import threading
from contextlib import nullcontext

import numpy as np
import torch
from torch.nn.functional import conv2d, interpolate, max_pool2d, pad, relu_

from config.errors import InputError
from hed.crop_plan import Plan
from hed.engines.engine import Engine, Map, Options, Runner
from hed.graph import BLOCKS, SIDES
from hed.weights import Weights

# Pictures at once on a GPU; of 448x448, some 250 MB of feature maps each in 16 bits.
_GPU_BATCH = 8
# Streams on a GPU: while one computes, the other copies.
_GPU_STREAMS = 2


def create(weights: Weights, options: Options) -> Engine:
    """Return the engine; see ``create_engine``. It runs HED's layers only, no ONNX file."""
    if not torch.cuda.is_available():
        return _create_on("cpu", torch.float32, weights, 1, 1)
    # float16, whose maps are several times as near to float32's as bfloat16's: HED's activations
    # stay under a tenth of what it holds.
    kind = torch.float16 if options.fast else torch.float32
    return _create_on("cuda", kind, weights, _GPU_STREAMS, _GPU_BATCH)


def _create_on(
    device: str, dtype: torch.dtype, weights: Weights, workers: int, batch: int
) -> Engine:
    assert weights.layers is not None
    on_gpu = device == "cuda"
    if on_gpu and dtype == torch.float32:
        # What PyTorch calls float32 on a GPU is TF32 unless this is said, with 10 bits.
        torch.backends.cudnn.allow_tf32 = False
    layers = {}
    for name, (kernel, bias) in weights.layers.items():
        # Scores are few: they stay in float32.
        kind = torch.float32 if name in (*SIDES, "fuse") else dtype
        layers[name] = (
            torch.from_numpy(kernel).to(device, kind, memory_format=torch.channels_last),
            torch.from_numpy(bias).to(device, kind),
        )
    if on_gpu:
        # The streams below do not wait for the one that copies these.
        torch.cuda.synchronize()
    local = threading.local()

    def compute(batch: Map, plan: Plan) -> Map:
        pictures = torch.from_numpy(batch)
        if on_gpu:
            pictures = pictures.pin_memory()
        pictures = pictures.to(device, dtype, non_blocking=True, memory_format=torch.channels_last)
        edges: Map = _forward(layers, pictures, plan).cpu().numpy()
        return edges

    def make_runner(plan: Plan) -> Runner:
        # One stream a thread, whatever the sizes: memory is kept for each.
        if on_gpu and not hasattr(local, "stream"):
            local.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

        def run(batch: Map) -> Map:
            with (
                torch.inference_mode(),
                torch.cuda.stream(local.stream) if on_gpu else nullcontext(),
            ):
                try:
                    return compute(batch, plan)
                except torch.OutOfMemoryError:
                    if len(batch) == 1:
                        raise InputError(
                            f"The GPU's memory is too small for HED at {plan.rows.input}×"
                            f"{plan.columns.input} px. Lower edges.scale, or use another engine."
                        ) from None
            # Large pictures (edges.scale): one by one.
            return np.concatenate([run(batch[i : i + 1]) for i in range(len(batch))])

        return run

    name = torch.cuda.get_device_name() if on_gpu else "CPU"
    title = f"PyTorch {torch.__version__}, {str(dtype).removeprefix('torch.')}, {name}"
    return Engine(f"{title}, batches of {batch}", make_runner, workers, batch)


def _forward(
    layers: dict[str, tuple[torch.Tensor, torch.Tensor]], pictures: torch.Tensor, plan: Plan
) -> torch.Tensor:
    """Run the network of ``hed.graph``: (N, 3, …) to (N, rows.side, columns.side)."""
    rows, columns = plan.rows, plan.columns
    features, sides = pictures, []
    for level, (block, side) in enumerate(zip(BLOCKS, SIDES, strict=True)):
        if level:
            features = max_pool2d(features, 2)
        for name, y, x in zip(block, rows.blocks[level], columns.blocks[level], strict=True):
            padding = (y.before, x.before)
            if padding != (y.after, x.after):
                features = pad(features, (x.before, x.after, y.before, y.after))
                padding = (0, 0)
            features = relu_(conv2d(features, *layers[name], padding=padding))
        (top, height, skip_y), (left, width, skip_x) = rows.scores[level], columns.scores[level]
        read = features[:, :, top : top + height, left : left + width]
        score = conv2d(read.float(), *layers[side])
        if level:
            size = [height << level, width << level]
            score = interpolate(score, size, mode="bilinear", align_corners=False)
            score = score[:, :, skip_y : skip_y + rows.side, skip_x : skip_x + columns.side]
        sides.append(score)
    return torch.sigmoid(conv2d(torch.cat(sides, 1), *layers["fuse"]))[:, 0]
