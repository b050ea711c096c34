"""HED in PyTorch: batches on a GPU. On a CPU it serves for comparison only."""

import threading
from contextlib import nullcontext

import numpy as np
import torch
from torch.nn.functional import conv2d, interpolate, max_pool2d, pad, relu_

from config.errors import InputError
from hed.crop_plan import CropPlan
from hed.engines.engine import BatchRunner, Float32Array, HedEngine, HedEngineOptions
from hed.graph import BLOCKS, SIDE_OUTPUTS
from hed.weights import HedWeights

# At 448x448 px each picture takes some 250 MB of feature maps in 16 bits.
_GPU_BATCH_SIZE = 8
# One stream computes while the other copies.
_NUM_GPU_STREAMS = 2


def create(weights: HedWeights, options: HedEngineOptions) -> HedEngine:
    """Create the PyTorch engine; see ``create_engine``. It runs HED's layers, not ONNX networks."""
    if not torch.cuda.is_available():
        return _create_on_device("cpu", torch.float32, weights, 1, 1)
    # float16 rather than bfloat16: its edge maps are several times closer to float32's, and HED's
    # activations stay under a tenth of its range.
    dtype = torch.float16 if options.reduced_precision else torch.float32
    return _create_on_device("cuda", dtype, weights, _NUM_GPU_STREAMS, _GPU_BATCH_SIZE)


def _create_on_device(
    device: str, dtype: torch.dtype, weights: HedWeights, workers: int, batch_size: int
) -> HedEngine:
    assert weights.layers is not None
    on_gpu = device == "cuda"
    if on_gpu and dtype == torch.float32:
        # By default PyTorch computes float32 convolutions in TF32, with a 10-bit mantissa.
        torch.backends.cudnn.allow_tf32 = False
    layers = {}
    for name, (kernel, bias) in weights.layers.items():
        # The side outputs are small: keep them in float32.
        layer_dtype = torch.float32 if name in (*SIDE_OUTPUTS, "fuse") else dtype
        layers[name] = (
            torch.from_numpy(kernel).to(device, layer_dtype, memory_format=torch.channels_last),
            torch.from_numpy(bias).to(device, layer_dtype),
        )
    if on_gpu:
        # The worker streams do not wait for the stream that copies the weights.
        torch.cuda.synchronize()
    thread_local = threading.local()

    def compute(batch: Float32Array, plan: CropPlan) -> Float32Array:
        pictures = torch.from_numpy(batch)
        if on_gpu:
            pictures = pictures.pin_memory()
        pictures = pictures.to(device, dtype, non_blocking=True, memory_format=torch.channels_last)
        edges: Float32Array = _forward(layers, pictures, plan).cpu().numpy()
        return edges

    def make_runner(plan: CropPlan) -> BatchRunner:
        # One stream per thread for all sizes: the allocator caches memory per stream.
        if on_gpu and not hasattr(thread_local, "stream"):
            thread_local.stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

        def run(batch: Float32Array) -> Float32Array:
            with (
                torch.inference_mode(),
                torch.cuda.stream(thread_local.stream) if on_gpu else nullcontext(),
            ):
                try:
                    return compute(batch, plan)
                except torch.OutOfMemoryError:
                    if len(batch) == 1:
                        raise InputError(
                            f"The GPU's memory is too small for HED at {plan.rows.input_size}×"
                            f"{plan.columns.input_size} px. Lower edges.scale or use another "
                            "engine."
                        ) from None
            # Out of memory with a batch of large pictures (edges.scale): run them one by one.
            return np.concatenate([run(batch[i : i + 1]) for i in range(len(batch))])

        return run

    name = torch.cuda.get_device_name() if on_gpu else "CPU"
    description = f"PyTorch {torch.__version__}, {str(dtype).removeprefix('torch.')}, {name}"
    return HedEngine(f"{description}, batches of {batch_size}", make_runner, workers, batch_size)


def _forward(
    layers: dict[str, tuple[torch.Tensor, torch.Tensor]], pictures: torch.Tensor, plan: CropPlan
) -> torch.Tensor:
    """Run the network of ``hed.graph``.

    Returns float32 (N, rows.output_size, columns.output_size) for an input of (N, 3, H, W).
    """
    rows, columns = plan.rows, plan.columns
    features, sides = pictures, []
    for level, (block, side) in enumerate(zip(BLOCKS, SIDE_OUTPUTS, strict=True)):
        if level:
            features = max_pool2d(features, 2)
        for name, y, x in zip(
            block, rows.conv_paddings[level], columns.conv_paddings[level], strict=True
        ):
            padding = (y.before, x.before)
            if padding != (y.after, x.after):
                features = pad(features, (x.before, x.after, y.before, y.after))
                padding = (0, 0)
            features = relu_(conv2d(features, *layers[name], padding=padding))
        (top, height, skip_y), (left, width, skip_x) = (
            rows.score_crops[level],
            columns.score_crops[level],
        )
        read = features[:, :, top : top + height, left : left + width]
        score = conv2d(read.float(), *layers[side])
        if level:
            size = [height << level, width << level]
            score = interpolate(score, size, mode="bilinear", align_corners=False)
            score = score[
                :, :, skip_y : skip_y + rows.output_size, skip_x : skip_x + columns.output_size
            ]
        sides.append(score)
    return torch.sigmoid(conv2d(torch.cat(sides, 1), *layers["fuse"]))[:, 0]
