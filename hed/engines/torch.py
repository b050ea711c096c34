"""HED in PyTorch: batches on a GPU; on a CPU it serves to compare."""

from contextlib import nullcontext

import torch
from torch.nn.functional import conv2d, interpolate, max_pool2d, pad, relu_

from errors import InputError
from hed.engines.engine import Engine, Map, Options, Runner
from hed.graph import BLOCKS, SIDES
from hed.plan import Plan
from hed.weights import Weights

# Pictures of 468x468 at once on a GPU; some 250 MB of feature maps each in 16 bits.
_GPU_BATCH = 8
# Streams on a GPU: while one computes, the other copies.
_GPU_STREAMS = 2


def create(weights: Weights, options: Options) -> Engine:
    """Return the engine; see ``create_engine``.

    Raises
    ------
    InputError
        If the weights are a network of one's own as ONNX.
    """
    if weights.layers is None:
        raise InputError(
            "The engine torch runs HED's own layers, no ONNX file: use --engine opencv or openvino."
        )
    if not torch.cuda.is_available():
        return _create_on("cpu", torch.float32, weights, 1, 1)
    sixteen = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return _create_on(
        "cuda", sixteen if options.fast else torch.float32, weights, _GPU_STREAMS, _GPU_BATCH
    )


def _create_on(
    device: str, dtype: torch.dtype, weights: Weights, workers: int, batch: int
) -> Engine:
    assert weights.layers is not None
    on_gpu = device == "cuda"
    if on_gpu and dtype == torch.float32:
        # What PyTorch calls float32 on a GPU is TF32 unless this is said, with 10 bits.
        torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    layers = {}
    for name, (kernel, bias) in weights.layers.items():
        # Scores are few, and their last bits decide where lines run.
        kind = torch.float32 if name in (*SIDES, "fuse") else dtype
        layers[name] = (
            torch.from_numpy(kernel).to(device, kind, memory_format=torch.channels_last),
            torch.from_numpy(bias).to(device, kind),
        )

    def make_runner(plan: Plan) -> Runner:
        stream = torch.cuda.Stream() if on_gpu else None  # type: ignore[no-untyped-call]

        def run(batch: Map) -> Map:
            with torch.inference_mode(), torch.cuda.stream(stream) if stream else nullcontext():
                pictures = torch.from_numpy(batch)
                if on_gpu:
                    pictures = pictures.pin_memory()
                pictures = pictures.to(
                    device, dtype, non_blocking=True, memory_format=torch.channels_last
                )
                edges: Map = _forward(layers, pictures, plan).cpu().numpy()
                return edges

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
            features = pad(features, (x.before, x.after, y.before, y.after))
            features = relu_(conv2d(features, *layers[name]))
        (top, height, skip_y), (left, width, skip_x) = rows.scores[level], columns.scores[level]
        read = features[:, :, top : top + height, left : left + width]
        score = conv2d(read.float(), *layers[side])
        if level:
            size = [height << level, width << level]
            score = interpolate(score, size, mode="bilinear", align_corners=False)
            score = score[:, :, skip_y : skip_y + rows.side, skip_x : skip_x + columns.side]
        sides.append(score)
    return torch.sigmoid(conv2d(torch.cat(sides, 1), *layers["fuse"]))[:, 0]
