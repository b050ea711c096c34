"""Measure whether augmentation improves a generator on hand-drawn sketches (docs/sketch-gap.md).

    .venv/bin/icanvas prepare demo
    .venv/bin/python -m benchmarks.sketch_gap --out /tmp/gap
    .venv/bin/python -m benchmarks.sketch_gap --out /tmp/gap --more FOLDER   # with color/ and line/

Small generators are trained on the demo's pairs at several strengths of augmentation, with several
seeds each; finished runs are reused. They are evaluated on the designers' line drawings, which are
not edges and were never trained on, against the true pictures; some of those pictures were trained
on and some not. Then the drawings are distorted, increasingly and in ways that the augmentation
does not use, and thinned as in service. Prints Markdown; writes curves and sheets as PNG.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from config.recipe import Recipe
from config.settings import get_settings
from hed import EdgeDetector
from model.data.augmentation import augment_strokes
from model.data.dataset import PairDataset, scale_drawing, scale_picture, to_condition
from model.evaluation.metrics import l1, match_lines, ssim
from model.networks.generator import Generator
from model.training.checkpoint import restore_generator
from model.training.resume import find_run
from model.training.train import train
from postprocess import (
    LineMatchCounts,
    fit_picture,
    make_contact_sheet,
    trace_strokes,
)
from postprocess.thin import thin
from sources import decode_picture
from storage import open_store
from storage.pair_sets import read_current, read_manifest

Image8 = NDArray[np.uint8]

DEMO = Path(__file__).parents[1] / "sources" / "demo"
SIDE = 256
LEVELS = (0, 1, 2, 3, 4)


# Strength of augmentation, and seed.
RunKey = tuple[float, int]

UNSEEN = "unseen"


@dataclass(frozen=True)
class GeneratorScores:
    """Scores of one generator.

    Attributes
    ----------
    scores : float64 array (N, 2)
        L1 and SSIM of every drawing.
    line_f1 : list of length N
        Agreement of the generated picture's edges with the drawing.
    curves : dict of float64 array (levels, 2)
        Mean L1 and SSIM at each level of a distortion.
    """

    scores: NDArray[np.float64]
    line_f1: list[LineMatchCounts]
    curves: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class LineDrawing:
    """A designer's line drawing and its picture: uint8 256×256 and 256×256×3."""

    group: str
    drawing: Image8
    picture: Image8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the plots and sheets")
    parser.add_argument("--more", type=Path, help="folder with color/ and line/, never trained on")
    parser.add_argument(
        "--most", type=int, default=1000, help="largest number of drawings from that folder"
    )
    parser.add_argument("--strengths", type=float, nargs="+", default=[0, 0.5, 1])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    store = open_store(get_settings().store)
    current = read_current(store, "demo")
    if current is None:
        sys.exit("There are no pairs of demo. Run `icanvas prepare demo`.")
    write_png(options.out / "augmentation.png", draw_variants(current.fingerprint))

    recipes = {
        (strength, seed): Recipe(
            batch=4,
            epochs=options.epochs,
            image_size=options.size,
            generator_width=options.width,
            discriminator_width=options.width,
            # The default decay would weight the first steps of a short run too much.
            ema=0.99,
            precision="f32",
            checkpoint_every=options.epochs,
            augment=strength,
            seed=seed,
        )
        for seed in range(options.seeds)
        for strength in options.strengths
    }
    drawings = read_line_drawings(current.fingerprint, options.more, options.most)
    # One thread each, because more do not make small steps faster.
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        arguments = current.fingerprint, drawings
        jobs = {
            key: pool.submit(train_and_score, recipe, *arguments) for key, recipe in recipes.items()
        }
        scores = {key: job.result() for key, job in jobs.items()}
    print_scores(scores, drawings)
    print_curves(scores, options.out / "curves.png")
    generators = {
        strength: load_generator_of(current.fingerprint, recipe)
        for (strength, seed), recipe in recipes.items()
        if seed == 0
    }
    write_png(options.out / "generated.png", draw_generated(generators, drawings, options.size))


def train_and_score(recipe: Recipe, pairs: str, drawings: Sequence[LineDrawing]) -> GeneratorScores:
    """Train a generator and score it."""
    torch.set_num_threads(1)
    run = train(open_store(get_settings().store), "demo", pairs, recipe)
    print(f"strength {recipe.augment:g}, seed {recipe.seed}: {run.steps} steps", file=sys.stderr)
    return score_generator(pairs, recipe, drawings)


def load_generator_of(pairs: str, recipe: Recipe) -> Generator:
    _, run = find_run(open_store(get_settings().store), "demo", pairs, recipe, force=False)
    data = run.read_checkpoint(run.list_checkpoints()[-1])
    return restore_generator(data, recipe)[0]


def read_line_drawings(pairs: str, extra_folder: Path | None, max_count: int) -> list[LineDrawing]:
    """Return the designers' drawings of training pictures, of the demo's others, and of more."""
    store = open_store(get_settings().store)
    rows = read_manifest(store, "demo", pairs)
    trained_on = {row.source_path for row in rows if row.status == "pair" and row.split == "train"}
    drawings = []
    own = sorted((DEMO / "line").glob("*.png"))
    others = sorted((extra_folder / "line").glob("*.png")) if extra_folder else []
    others = [path for path in others if not (DEMO / "line" / path.name).exists()]
    for path in own + others[:: -(-len(others) // max_count) or 1]:
        group = "trained on" if path in own and path.name in trained_on else UNSEEN
        picture = read_on_white(path.parents[1] / "color" / path.name)
        drawings.append(LineDrawing(group, thin_lines(read_on_white(path).mean(2) < 128), picture))
    return drawings


def read_on_white(path: Path) -> Image8:
    """Read a PNG and composite it on white: uint8 256×256×3 RGB."""
    picture = decode_picture(path.read_bytes(), path.name, (255, 255, 255), max_pixels=10**8)
    return fit_picture(picture, SIDE, "stretch")


def thin_lines(ink: NDArray[np.bool_]) -> Image8:
    """Thin the drawing as in service, but do not move it, to stay aligned with the true picture."""
    return np.where(thin(ink), np.uint8(0), np.uint8(255))


# Distortions that the augmentation does not use. Levels are 0 to 4; 0 changes nothing.


def double_lines(ink: NDArray[np.bool_], level: int, random: np.random.Generator) -> Image8:
    """Repeat all lines ``level`` times with small offsets."""
    doubled = ink.copy()
    for _ in range(level):
        y, x = random.integers(-5, 6, 2)
        doubled |= np.roll(ink, (y, x), (0, 1))
    return thin_lines(doubled)


def stray_marks(ink: NDArray[np.bool_], level: int, random: np.random.Generator) -> Image8:
    """Add random lines."""
    marked = ink.astype(np.uint8)
    for _ in range(6 * level):
        start, move = random.integers(0, SIDE, 2), random.integers(-40, 41, 2)
        end = start + move
        cv2.line(marked, start.tolist(), end.tolist(), 1, 2)
    return thin_lines(marked > 0)


def coarse_grid(ink: NDArray[np.bool_], level: int, _: np.random.Generator) -> Image8:
    """Render on a grid of larger pixels."""
    if not level:
        return thin_lines(ink)
    cell = 2 ** (level + 1)
    rows = ink.reshape(SIDE // cell, cell, SIDE // cell, cell).any((1, 3))
    return thin_lines(rows.repeat(cell, 0).repeat(cell, 1))


Distort = Callable[[NDArray[np.bool_], int, np.random.Generator], Image8]

DISTORTIONS: dict[str, Distort] = {
    "doubled lines": double_lines,
    "stray marks": stray_marks,
    "coarse grid": coarse_grid,
}


@torch.no_grad()
def generate(generator: Generator, drawing: Image8, size: int) -> Image8:
    """Return the generated picture, uint8 size×size×3."""
    condition = to_condition(scale_drawing(drawing, size)).unsqueeze(0)
    picture = (generator(condition)[0].permute(1, 2, 0).numpy() + 1) * 127.5
    return picture.round().clip(0, 255).astype(np.uint8)


def score_picture(generated: Image8, picture: Image8) -> tuple[float, float]:
    """Return L1 and SSIM at the generated size."""
    target = scale_picture(picture, generated.shape[0])
    return l1(generated, target), ssim(generated, target)


def compare_edges(detector: EdgeDetector, generated: Image8, drawing: Image8) -> LineMatchCounts:
    """Compare the generated picture's edges with the drawing, at 2 px of 256."""
    upscaled = cv2.resize(generated, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    (agreement,) = match_lines(
        detector, [upscaled], [drawing], detector.weights.resolve_threshold(None)
    )
    return agreement


def score_generator(pairs: str, recipe: Recipe, drawings: Sequence[LineDrawing]) -> GeneratorScores:
    """Score a generator on every drawing."""
    generator, size = load_generator_of(pairs, recipe), recipe.image_size
    detector = EdgeDetector.load("auto")
    scores, edges = [], []
    for drawing in drawings:
        generated = generate(generator, drawing.drawing, size)
        scores.append(score_picture(generated, drawing.picture))
        edges.append(compare_edges(detector, generated, drawing.drawing))
    curves = {
        name: np.array(
            [score_distortion(generator, drawings, distort, level, size) for level in LEVELS]
        )
        for name, distort in DISTORTIONS.items()
    }
    return GeneratorScores(np.array(scores), edges, curves)


def score_distortion(
    generator: Generator, drawings: Sequence[LineDrawing], distort: Distort, level: int, size: int
) -> NDArray[np.float64]:
    """Return mean L1 and SSIM of the unseen drawings at a level of distortion."""
    scores = []
    for number, drawing in enumerate(drawings):
        if drawing.group == UNSEEN:
            distorted = distort(drawing.drawing == 0, level, np.random.default_rng([level, number]))
            scores.append(score_picture(generate(generator, distorted, size), drawing.picture))
    return np.mean(scores, axis=0)


def print_scores(scores: dict[RunKey, GeneratorScores], drawings: Sequence[LineDrawing]) -> None:
    print("| drawings | augment | L1 | SSIM | edges F1 | precision | recall |")
    print("|---|---|---|---|---|---|---|")
    for group in dict.fromkeys(one.group for one in drawings):
        numbers = [number for number, one in enumerate(drawings) if one.group == group]
        for strength in dict.fromkeys(strength for strength, _ in scores):
            rows = []
            for (of, _), result in scores.items():
                if of == strength:
                    edges = sum((result.line_f1[number] for number in numbers), LineMatchCounts())
                    values = edges.f1, edges.precision, edges.recall
                    rows.append([*result.scores[numbers].mean(0), *values])
            cells = " | ".join(
                f"{mean:.4f} ± {std:.4f}"
                for mean, std in zip(np.mean(rows, 0), np.std(rows, 0), strict=True)
            )
            print(f"| {group} ({len(numbers)}) | {strength:g} | {cells} |")
    print()


def print_curves(scores: dict[RunKey, GeneratorScores], path: Path) -> None:
    figure = Figure(figsize=(4 * len(DISTORTIONS), 6.5), layout="constrained")
    axes = figure.subplots(2, len(DISTORTIONS), squeeze=False)
    for column, name in enumerate(DISTORTIONS):
        print(f"| {name} | {' | '.join(f'level {level}' for level in LEVELS)} | mean |")
        print(f"|---|{'---|' * (len(LEVELS) + 1)}")
        for strength in dict.fromkeys(strength for strength, _ in scores):
            curves = np.array(
                [result.curves[name] for (of, _), result in scores.items() if of == strength]
            )
            for row, metric in enumerate(("L1", "SSIM")):
                values = curves[..., row]
                cells = " | ".join(f"{value:.4f}" for value in values.mean(0))
                mean = f"{values.mean():.4f} ± {values.mean(1).std():.4f}"
                print(f"| {metric}, augment {strength:g} | {cells} | {mean} |")
                axis = axes[row, column]
                axis.errorbar(
                    LEVELS, values.mean(0), values.std(0), capsize=3, label=f"augment {strength:g}"
                )
                axis.set(title=name, xlabel="level", ylabel=metric, xticks=LEVELS)
        print()
    axes[0, 0].legend()
    figure.savefig(path, dpi=100)


def draw_variants(pairs: str) -> Image8:
    """Render a sheet of five drawings, each with ten variants at three strengths."""
    dataset = PairDataset(open_store(get_settings().store), "demo", pairs, "train", SIDE)
    tiles = []
    for index in (3, 11, 20, 34, 47):
        drawing, _ = dataset.load_pair(index)
        strokes = trace_strokes(drawing)
        for strength in (0.25, 0.5, 1.0):
            variants = [
                augment_strokes(strokes, SIDE, np.random.default_rng([seed, index]), strength)
                for seed in range(10)
            ]
            tiles += [scale_drawing(tile, SIDE // 2) for tile in [drawing, *variants]]
    return make_contact_sheet([np.repeat(tile[..., None], 3, 2) for tile in tiles], 11)


def draw_generated(
    generators: dict[float, Generator],
    drawings: Sequence[LineDrawing],
    size: int,
    max_count: int = 12,
) -> Image8:
    """Render a sheet of unseen drawings: drawing, picture of each strength, true picture."""
    unseen = [one for one in drawings if one.group == UNSEEN]
    tiles = []
    for one in unseen[:: max(1, len(unseen) // max_count)][:max_count]:
        tiles.append(np.repeat(scale_drawing(one.drawing, size)[..., None], 3, 2))
        tiles += [generate(generator, one.drawing, size) for generator in generators.values()]
        tiles.append(scale_picture(one.picture, size))
    return make_contact_sheet(tiles, 2 * (len(generators) + 2))


def write_png(path: Path, picture: Image8) -> None:
    cv2.imwrite(str(path), picture[..., ::-1])


if __name__ == "__main__":
    main()
