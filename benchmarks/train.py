"""Measure a training step, compared with a plain step of other trainers and with the loader.

    .venv/bin/python -m benchmarks.train                     # full networks, batch 4, 256x256
    .venv/bin/python -m benchmarks.train --width 16 --steps 20
    .venv/bin/python -m benchmarks.train --loader            # only the loader

The plain step is that of pytorch-CycleGAN-and-pix2pix, in f32 with unfused Adam, on this project's
networks, so that all rows compute the same. Every row runs in its own process; the rows alternate,
so that other load affects all of them. Then pairs are loaded from local shards, as in a run. Prints
Markdown; compare rows of one run only.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from config.recipe import Recipe
from model.data.dataset import PairDataset, make_loader, to_float32
from model.data.sampler import ResumableBatchSampler
from model.data.stroke_cache import cache_strokes
from model.device import choose_device, supports_bf16
from model.networks.discriminator import Discriminator
from model.networks.generator import Generator
from model.training.checkpoint import init_state
from model.training.step import prepare_networks, train_step
from storage import LocalStore

Step = Callable[[Tensor, Tensor], object]

ROWS = {
    "plain": "plain f32",
    "f32": "f32",
    "f32 compiled": "f32, compiled",
    "bf16": "bf16",
    "bf16 compiled": "bf16, compiled",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3, help="steps a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--loader", action="store_true", help="measure only the loader")
    parser.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    recipe = Recipe(
        batch=options.batch,
        image_size=options.size,
        generator_width=options.width,
        discriminator_width=options.width,
    )
    if options.row:
        run_turns(make_step(options.row, recipe), recipe, options.steps)
        return
    step = None if options.loader else print_steps(sys.argv[1:], options.turns, recipe)
    print_loader(recipe, step)


def print_steps(words: list[str], turns: int, recipe: Recipe) -> float:
    """Print the table of steps and return the fastest row's seconds a step."""
    device = choose_device()
    rows = [row for row in ROWS if "bf16" not in row or supports_bf16(device)]
    seconds: dict[str, list[float]] = {row: [] for row in rows}
    first: dict[str, float] = {}
    workers = {
        row: subprocess.Popen(
            [sys.executable, "-m", "benchmarks.train", *words, "--row", row],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for row in rows
    }
    for turn in range(turns + 1):
        for row, worker in workers.items():
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
            seconds_per_batch = json.loads(worker.stdout.readline())
            if turn:
                seconds[row].append(seconds_per_batch)
            else:
                first[row] = seconds_per_batch
    for worker in workers.values():
        worker.communicate()
    medians = {row: statistics.median(seconds[row]) for row in rows}
    size = recipe.image_size
    print(f"\nA step of {recipe.batch} pairs of {size}x{size} on {device.type}\n")
    print("| | s a step | speed relative to plain | first step, s |")
    print("|---|---|---|---|")
    for row in rows:
        ratio = medians["plain"] / medians[row]
        print(f"| {ROWS[row]} | {medians[row]:.3f} | {ratio:.2f} | {first[row]:.1f} |")
    if len(rows) < len(ROWS):
        print("\nThis device has no native bf16.")
    return min(medians.values())


def run_turns(step: Step, recipe: Recipe, count: int) -> None:
    """For each line of input run steps, first one, and print the seconds a step."""
    device = choose_device()
    shape = (recipe.batch, 1, recipe.image_size, recipe.image_size)
    condition = torch.rand(shape, device=device).round()
    target = torch.rand((shape[0], 3, *shape[2:]), device=device) * 2 - 1
    steps = 1
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(steps):
            step(condition, target)
        if device.type == "cuda":
            torch.cuda.synchronize()
        print(json.dumps((time.perf_counter() - start) / steps), flush=True)
        steps = count


def make_step(row: str, recipe: Recipe) -> Step:
    device = choose_device()
    if row == "plain":
        return make_plain_step(recipe, device)
    resolved = recipe.model_copy(update={"precision": row.split()[0]})
    state = init_state(resolved, device)
    networks = prepare_networks(state, row.endswith("compiled"))
    return lambda condition, target: train_step(state, networks, condition, target, resolved)


def make_plain_step(recipe: Recipe, device: torch.device) -> Step:
    generator = Generator(recipe.generator_width, recipe.generator_blocks).to(device)
    discriminator = Discriminator(recipe.discriminator_width).to(device)
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=recipe.lr, betas=(0.5, 0.999))
        for network in (generator, discriminator)
    ]

    def adversarial_loss(picture: Tensor, condition: Tensor, real: bool) -> Tensor:
        scores: Tensor = discriminator(torch.cat([picture, condition * 2 - 1], 1))
        return mse_loss(scores, torch.full_like(scores, float(real)))

    def set_requires_grad(network: nn.Module, requires_grad: bool) -> None:
        for parameter in network.parameters():
            parameter.requires_grad = requires_grad

    def step(condition: Tensor, target: Tensor) -> None:
        generated = generator(condition)
        set_requires_grad(discriminator, True)
        optimizers[1].zero_grad()
        fake = adversarial_loss(generated.detach(), condition, real=False)
        ((fake + adversarial_loss(target, condition, real=True)) * 0.5).backward()  # type: ignore[no-untyped-call]
        optimizers[1].step()
        set_requires_grad(discriminator, False)
        optimizers[0].zero_grad()
        loss = adversarial_loss(generated, condition, real=True)
        (loss + recipe.lambda_l1 * l1_loss(generated, target)).backward()
        optimizers[0].step()

    return step


def print_loader(recipe: Recipe, step: float | None) -> None:
    """Print the loader's rate, and its share of a step's time if ``step`` (seconds) is known."""
    from tests.model.pairs import publish_test_pairs

    print("\n| pairs from local shards | pairs/s | CPU ms a pair | share of a step |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder))
        publish_test_pairs(store, "t" * 256)
        pairs = PairDataset(store, "tiny", "pairs", "train", recipe.image_size)
        cache_strokes(pairs.reader, pairs.split, pairs.records)
        for workers, augment in ((0, 0.0), (2, 0.0), (0, 1.0), (2, 1.0)):
            turns = recipe.model_copy(
                update={"epochs": 8, "augment": augment, "augment_share": augment}
            )
            sampler = ResumableBatchSampler(len(pairs), turns)
            batches = iter(make_loader(pairs, turns, sampler, choose_device(), workers))
            next(batches)
            start, used, count = time.perf_counter(), time.process_time(), 0
            for condition, _ in batches:
                count += len(condition)
            rate = count / (time.perf_counter() - start)
            # CPU time of this process only, which other load changes little.
            cpu_ms = "" if workers else f"{1000 * (time.process_time() - used) / count:.1f}"
            where = f"{workers} workers" if workers else "in the training process"
            where += ", augmented" if augment else ""
            share = f"{recipe.batch / rate / step:.1%}" if step else ""
            print(f"| {where} | {rate:.0f} | {cpu_ms} | {share} |")
    print_conversion(recipe, step)


def print_conversion(recipe: Recipe, step: float | None) -> None:
    """Print the time to convert a batch of bytes to floats on the training device."""
    device, times = choose_device(), 200
    shape = (recipe.batch, 1, recipe.image_size, recipe.image_size)
    condition = torch.zeros(shape, dtype=torch.uint8, device=device)
    picture = condition.repeat(1, 3, 1, 1)
    to_float32(condition, picture)
    start, used = time.perf_counter(), time.process_time()
    for _ in range(times):
        to_float32(condition, picture)
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds_per_batch = (time.perf_counter() - start) / times
    cpu_ms = 1000 * (time.process_time() - used) / times / recipe.batch
    share = f"{seconds_per_batch / step:.1%}" if step else ""
    print(
        f"| bytes to floats on {device.type} | {recipe.batch / seconds_per_batch:.0f} | "
        f"{cpu_ms:.1f} | {share} |"
    )


if __name__ == "__main__":
    main()
