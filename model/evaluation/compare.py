"""Comparison of all checkpoints of a data set on the same drawings."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from config.errors import CorruptObjectError, InputError, IntegrityError, NotFoundError
from hed import EdgeDetector
from model.data.dataset import PairDataset
from model.device import choose_device
from model.evaluation.candidates import Candidate, LoadedGenerator, generate_pictures
from model.evaluation.comparison import (
    LINES_BASELINE,
    SKETCHES,
    TARGETS_BASELINE,
    VALIDATION,
    CheckpointComparison,
    CheckpointResult,
    SketchRow,
    select_top,
)
from model.evaluation.evaluator import EvaluationMetrics, Evaluator
from model.evaluation.metrics.features import (
    INSTALL_COMMAND,
    FeatureExtractor,
    has_feature_extractor,
)
from model.evaluation.reference_set import ImageFeatures, ReferenceSet, select_evenly
from postprocess import PAIR_SIZE, encode_jpeg, fit_picture, normalize_sketch, pad_to_square
from storage import ObjectStore

Image8 = NDArray[np.uint8]

# Each training picture takes some milliseconds, and a tenth of a second with KID features.
_MAX_REFERENCE_PICTURES = 1000
# As many as a person looks through without tiring.
_MAX_ROWS = 24

_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class LineSettings:
    """Settings for converting edges to lines, as in the training drawings; see ``clean_edges``.

    Attributes
    ----------
    threshold : float in [0, 1]
    min_pixels : int, at least 0
    """

    threshold: float
    min_pixels: int


@dataclass(frozen=True)
class EvaluationCallbacks:
    """Functions that a comparison calls.

    Attributes
    ----------
    on_start : callable
        Called with the number of pictures to process.
    on_picture : callable
        Called after each picture.
    raise_if_interrupted : callable
        Called often; raises to end the comparison.
    on_result : callable
        Called with each checkpoint's result.
    on_note : callable
        Called with each note for people, such as what was left out.
    """

    on_start: Callable[[int], None] = lambda _total: None
    on_picture: Callable[[], None] = lambda: None
    raise_if_interrupted: Callable[[], None] = lambda: None
    on_result: Callable[[CheckpointResult], None] = lambda _column: None
    on_note: Callable[[str], None] = lambda _what: None


def compare_checkpoints(
    store: ObjectStore,
    dataset: str,
    pairs: str,
    candidates: Sequence[Candidate],
    sketches: Mapping[str, Image8],
    hed: EdgeDetector,
    lines: LineSettings,
    max_pairs: int,
    callbacks: EvaluationCallbacks | None = None,
) -> CheckpointComparison:
    """Evaluate checkpoints on validation pairs and on hand-drawn sketches.

    One checkpoint is in memory at a time, with the weights and the preprocessing that would be
    served. Checkpoints that cannot be loaded are left out, with a note.

    Parameters
    ----------
    store : ObjectStore
    dataset : str
        The data set whose checkpoints are compared.
    pairs : str
        Fingerprint of the pair set with the validation pairs and training pictures.
    candidates : sequence of Candidate
        At least one.
    sketches : mapping of str to ndarray
        Hand-drawn sketches by path, in any form that ``normalize_sketch`` accepts; may be empty.
    hed : EdgeDetector
    lines : LineSettings
        Convert the edges of pictures to lines.
    max_pairs : int
        Maximum number of validation pairs, selected evenly.
    callbacks : EvaluationCallbacks or None

    Returns
    -------
    CheckpointComparison

    Raises
    ------
    InputError
        If there are neither validation pairs nor sketches, or no training pictures.
    IntegrityError
        If no checkpoint can be loaded, or a pair is damaged.
    """
    return _ComparisonRun(
        store, dataset, pairs, sketches, max_pairs, callbacks or EvaluationCallbacks()
    ).run(candidates, hed, lines)


@dataclass(frozen=True)
class _EvaluatedCheckpoint:
    """A checkpoint's result and the features of its displayed pictures.

    ``extent`` is the share of a side that its input drawings take.
    """

    result: CheckpointResult
    features: ImageFeatures
    extent: float


class _ComparisonRun:
    """Inputs and notes of one comparison."""

    def __init__(
        self,
        store: ObjectStore,
        dataset: str,
        pairs: str,
        sketches: Mapping[str, Image8],
        max_pairs: int,
        callbacks: EvaluationCallbacks,
    ) -> None:
        self._dataset, self._pairs = dataset, pairs
        self._callbacks = callbacks
        self._notes: list[str] = []
        self._normalized_sketches: dict[float, list[Image8]] = {}
        self._train = PairDataset(store, dataset, pairs, "train", PAIR_SIZE)
        self._val = PairDataset(store, dataset, pairs, "val", PAIR_SIZE)
        if not len(self._train):
            raise InputError(
                f"Pair set {pairs} of {dataset} has no training pictures to compare with."
            )
        indices = select_evenly(len(self._val), max_pairs) if len(self._val) else []
        paths = self._val.source_paths()
        self._val_names = [paths[index] for index in indices]
        halves = [self._val.load_pair(index) for index in indices]
        self._val_drawings = [drawing for drawing, _ in halves]
        self._targets = [picture for _, picture in halves]
        self._sketches = self._drop_empty_sketches(sketches)
        if not self._sketches and not halves:
            raise InputError(
                f"{dataset} has neither validation pairs nor sketches to compare on. Pass sketches "
                "with --sketches."
            )
        if not self._sketches:
            self._add_note("There are no sketches: all metrics are computed on validation pairs.")
        if not halves:
            self._add_note("There are no validation pairs: nothing is compared with true pictures.")

    def run(
        self, candidates: Sequence[Candidate], hed: EdgeDetector, lines: LineSettings
    ) -> CheckpointComparison:
        # The two baselines are evaluated too, one of them on validation pairs only.
        num_generated = (len(candidates) + 1) * (len(self._targets) + len(self._sketches))
        num_reference = min(len(self._train), _MAX_REFERENCE_PICTURES)
        self._callbacks.on_start(num_reference + num_generated + len(self._targets))
        extractor = FeatureExtractor() if has_feature_extractor() else None
        if extractor is None:
            self._add_note(f"KID-EffLite0 is left out: it requires an extra ({INSTALL_COMMAND}).")
        reference = ReferenceSet(self._train, _MAX_REFERENCE_PICTURES, extractor, self._on_picture)
        evaluator = Evaluator(hed, lines.threshold, lines.min_pixels, reference, extractor)
        device = choose_device()
        evaluated = [
            checkpoint
            for one in candidates
            if (checkpoint := self._evaluate_or_skip(one, evaluator, device))
        ]
        if not evaluated:
            raise IntegrityError(
                f"No checkpoint of {self._dataset} can be loaded. Run `icanvas train "
                f"{self._dataset} --force`."
            )
        results = select_top([checkpoint.result for checkpoint in evaluated])
        num_hidden = sum(not result.tiles for result in results)
        if num_hidden:
            self._add_note(
                f"{num_hidden} of {len(results)} checkpoints appear only in the table: the sheet "
                "and the voting page show the promoted checkpoint and the best by mean rank over "
                "several metrics."
            )
        shown_features = [
            checkpoint.features
            for checkpoint, result in zip(evaluated, results, strict=True)
            if result.tiles
        ]
        extent = evaluated[-1].extent
        if any(_extents_differ(checkpoint.extent, extent) for checkpoint in evaluated):
            self._add_note(
                "The runs use drawings of different sizes: lines are shown as for "
                f"{evaluated[-1].result.name}."
            )
        return CheckpointComparison(
            rows=tuple(self._make_rows(reference, shown_features, extent)),
            results=tuple(results),
            baselines=tuple(self._evaluate_baselines(evaluator, extent)),
            counts={VALIDATION: len(self._targets), SKETCHES: len(self._sketches)},
            num_reference=reference.size,
            notes=tuple(self._notes),
        )

    def _add_note(self, message: str) -> None:
        # Notes on a run are repeated by each of its checkpoints.
        if message not in self._notes:
            self._notes.append(message)
            self._callbacks.on_note(message)

    def _drop_empty_sketches(self, sketches: Mapping[str, Image8]) -> dict[str, Image8]:
        empty = [
            name for name, sketch in sketches.items() if (normalize_sketch(sketch) == 255).all()
        ]
        if empty:
            self._add_note(f"Left out, because they are empty: {', '.join(empty)}.")
        return {name: sketch for name, sketch in sketches.items() if name not in empty}

    def _normalize_sketches(self, extent: float) -> list[Image8]:
        """Return the sketches as the input of a run whose drawings have this extent."""
        if extent not in self._normalized_sketches:
            self._normalized_sketches[extent] = [
                normalize_sketch(sketch, PAIR_SIZE, extent) for sketch in self._sketches.values()
            ]
        return self._normalized_sketches[extent]

    def _evaluate_or_skip(
        self, candidate: Candidate, evaluator: Evaluator, device: torch.device
    ) -> _EvaluatedCheckpoint | None:
        try:
            evaluated = self._evaluate(candidate, evaluator, device)
        except (CorruptObjectError, IntegrityError, NotFoundError) as error:
            self._add_note(f"Checkpoint {candidate.name} is left out: {error}")
            return None
        self._callbacks.on_result(evaluated.result)
        return evaluated

    def _evaluate(
        self, candidate: Candidate, evaluator: Evaluator, device: torch.device
    ) -> _EvaluatedCheckpoint:
        loaded = candidate.load()
        if loaded.pairs != self._pairs:
            run = candidate.name.partition("/")[0]
            self._add_note(f"Run {run} was trained on another pair set than {self._pairs}.")
        normalized_sketches = self._normalize_sketches(loaded.extent)
        metrics: dict[str, EvaluationMetrics] = {}
        if self._targets:
            pictures = self._generate(loaded, self._val_drawings, device)
            metrics[VALIDATION], features = evaluator.evaluate(
                pictures, self._val_drawings, self._targets, self._on_picture
            )
        if normalized_sketches:
            pictures = self._generate(loaded, normalized_sketches, device)
            metrics[SKETCHES], features = evaluator.evaluate(
                pictures, normalized_sketches, None, self._on_picture
            )
        tiles = tuple(_encode_tile(pictures[index]) for index in self._shown_indices())
        result = CheckpointResult(candidate.name, metrics, tiles, candidate.promoted)
        return _EvaluatedCheckpoint(result, features, loaded.extent)

    def _generate(
        self, loaded: LoadedGenerator, drawings: Sequence[Image8], device: torch.device
    ) -> list[Image8]:
        pictures = []
        for picture in generate_pictures(loaded, drawings, device):
            pictures.append(picture)
            self._callbacks.raise_if_interrupted()
        return pictures

    def _on_picture(self) -> None:
        self._callbacks.raise_if_interrupted()
        self._callbacks.on_picture()

    def _shown_indices(self) -> list[int]:
        """Return the indices of the drawings that are displayed."""
        return select_evenly(len(self._sketches) or len(self._targets), _MAX_ROWS)

    def _make_rows(
        self, reference: ReferenceSet, features: Sequence[ImageFeatures], extent: float
    ) -> Iterator[SketchRow]:
        if self._sketches:
            names = list(self._sketches)
            drawings = [_sketch_on_square(sketch) for sketch in self._sketches.values()]
            lines = self._normalize_sketches(extent)
        else:
            names, lines = self._val_names, self._val_drawings
            drawings = [_to_rgb(drawing) for drawing in lines]
        for index in self._shown_indices():
            name, nearest = reference.nearest_picture(features, index)
            yield SketchRow(
                names[index],
                _encode_tile(drawings[index]),
                _encode_tile(_to_rgb(lines[index])),
                _encode_tile(nearest),
                name,
            )

    def _evaluate_baselines(
        self, evaluator: Evaluator, extent: float
    ) -> Iterator[CheckpointResult]:
        lines_metrics: dict[str, EvaluationMetrics] = {}
        targets_metrics: dict[str, EvaluationMetrics] = {}
        if self._targets:
            on_white = [_to_rgb(drawing) for drawing in self._val_drawings]
            inputs = self._val_drawings, self._targets
            lines_metrics[VALIDATION], _ = evaluator.evaluate(on_white, *inputs, self._on_picture)
            targets_metrics[VALIDATION], _ = evaluator.evaluate(
                self._targets, *inputs, self._on_picture
            )
        normalized_sketches = self._normalize_sketches(extent)
        if normalized_sketches:
            on_white = [_to_rgb(drawing) for drawing in normalized_sketches]
            lines_metrics[SKETCHES], _ = evaluator.evaluate(
                on_white, normalized_sketches, None, self._on_picture
            )
        yield CheckpointResult(LINES_BASELINE, lines_metrics)
        if targets_metrics:
            yield CheckpointResult(TARGETS_BASELINE, targets_metrics)


def _extents_differ(extent: float, shown: float) -> bool:
    """Return whether lines of one extent are displaced by pixels over pictures of another."""
    return abs(extent - shown) * PAIR_SIZE > 4


def _sketch_on_square(sketch: Image8) -> Image8:
    """Return the original sketch, uncropped, on a white square: uint8 256×256×3."""
    return pad_to_square(fit_picture(sketch, PAIR_SIZE, "contain"), PAIR_SIZE, _WHITE)


def _to_rgb(drawing: Image8) -> Image8:
    return np.repeat(drawing[..., np.newaxis], 3, axis=2)


def _encode_tile(picture: Image8) -> bytes:
    return encode_jpeg(picture, quality=90, subsampling="4:4:4")
