"""Every kept checkpoint of a data set, judged on the same drawings."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from config.errors import DamagedError, InputError, IntegrityError, NotFoundError
from hed import EdgeDetector
from model.data.dataset import PairDataset
from model.device import choose_device
from model.evaluation.candidates import Candidate, Opened, draw_pictures
from model.evaluation.comparison import (
    LINES,
    SKETCHES,
    TRUE,
    VALIDATION,
    Column,
    Comparison,
    Row,
    hide_surplus,
)
from model.evaluation.evaluator import Figures, Judge
from model.evaluation.metrics.features import INSTALL, Features, has_features
from model.evaluation.reference_set import Reference, Sight, choose_evenly
from postprocess import PAIR_SIZE, centre, encode_jpeg, fit_picture, normalise_sketch
from storage import ObjectStore

Image8 = NDArray[np.uint8]

# Of the training pictures: each takes some milliseconds, and a tenth of a second with features.
_REFERENCE = 1000
# What a person looks through without growing tired.
_ROWS = 24

_PAPER = (255, 255, 255)


@dataclass(frozen=True)
class LineSettings:
    """How edges become lines, as the training drawings' did: see ``clean_edges``."""

    threshold: float
    min_pixels: int


@dataclass(frozen=True)
class Hooks:
    """What is called on the way.

    Attributes
    ----------
    on_start : with how many pictures there will be to count.
    on_picture : after each.
    check : often; may raise, to end it.
    on_column : with a checkpoint when its figures are known.
    on_note : with each sentence that is to be known, as where something is left out.
    """

    on_start: Callable[[int], None] = lambda _total: None
    on_picture: Callable[[], None] = lambda: None
    check: Callable[[], None] = lambda: None
    on_column: Callable[[Column], None] = lambda _column: None
    on_note: Callable[[str], None] = lambda _what: None


def compare(
    store: ObjectStore,
    dataset: str,
    pairs: str,
    candidates: Sequence[Candidate],
    sketches: Mapping[str, Image8],
    hed: EdgeDetector,
    lines: LineSettings,
    most: int,
    hooks: Hooks | None = None,
) -> Comparison:
    """Judge checkpoints on validation pairs and on drawings by hand.

    One checkpoint is in memory at a time, with the weights and the preprocessing that are served.
    One that cannot be used is left out.

    Parameters
    ----------
    store, dataset, pairs : whose checkpoints; the pair set that holds validation pairs and
        training pictures.
    candidates : which ones; at least one.
    sketches : drawings by hand by their path, as ``normalise_sketch`` takes them; may be none.
    hed, lines : find the lines of pictures.
    most : validation pairs at most, taken evenly.
    hooks : what is called on the way.

    Raises
    ------
    InputError
        If there is nothing to draw from, or no training picture.
    IntegrityError
        If no checkpoint can be used, or a pair is damaged.
    """
    return _Comparing(store, dataset, pairs, sketches, most, hooks or Hooks()).run(
        candidates, hed, lines
    )


@dataclass(frozen=True)
class _Drawn:
    """A checkpoint's column, and what was seen in the pictures that people see.

    ``extent`` is how much of a side the drawings take that it is given.
    """

    column: Column
    sight: Sight
    extent: float


class _Comparing:
    """The drawings of a comparison, and what was noted of it."""

    def __init__(
        self,
        store: ObjectStore,
        dataset: str,
        pairs: str,
        sketches: Mapping[str, Image8],
        most: int,
        hooks: Hooks,
    ) -> None:
        self._dataset, self._pairs = dataset, pairs
        self._hooks = hooks
        self._notes: list[str] = []
        self._fitted: dict[float, list[Image8]] = {}
        self._train = PairDataset(store, dataset, pairs, "train", PAIR_SIZE)
        self._val = PairDataset(store, dataset, pairs, "val", PAIR_SIZE)
        if not len(self._train):
            raise InputError(
                f"Pair set {pairs} of {dataset} has no training pictures to compare with."
            )
        chosen = choose_evenly(len(self._val), most) if len(self._val) else []
        paths = self._val.source_paths()
        self._val_names = [paths[index] for index in chosen]
        halves = [self._val.halves(index) for index in chosen]
        self._val_drawings = [drawing for drawing, _ in halves]
        self._targets = [picture for _, picture in halves]
        self._sketches = self._without_empty(sketches)
        if not self._sketches and not halves:
            raise InputError(
                f"{dataset} has neither validation pairs nor drawings by hand to compare on. Give "
                "drawings with --sketches."
            )
        if not self._sketches:
            self._note("There are no drawings by hand: all figures are of validation pairs alone.")
        if not halves:
            self._note("There are no validation pairs: nothing is held against true pictures.")

    def run(
        self, candidates: Sequence[Candidate], hed: EdgeDetector, lines: LineSettings
    ) -> Comparison:
        # The two baselines are judged, too; one of them on validation pairs alone.
        drawings = (len(candidates) + 1) * (len(self._targets) + len(self._sketches))
        looked_at = min(len(self._train), _REFERENCE)
        self._hooks.on_start(looked_at + drawings + len(self._targets))
        features = Features() if has_features() else None
        if features is None:
            self._note(f"KID-EffLite0 is left out: it needs an extra ({INSTALL}).")
        reference = Reference(self._train, _REFERENCE, features, self._count)
        judge = Judge(hed, lines.threshold, lines.min_pixels, reference, features)
        device = choose_device()
        found = [drawn for one in candidates if (drawn := self._try(one, judge, device))]
        if not found:
            raise IntegrityError(
                f"No checkpoint of {self._dataset} can be used. Run `icanvas train "
                f"{self._dataset} --refresh`."
            )
        columns = hide_surplus([drawn.column for drawn in found])
        hidden = sum(not column.tiles for column in columns)
        if hidden:
            self._note(
                f"{hidden} of {len(columns)} checkpoints are in the table alone: shown are those "
                "of the best mean rank over several figures, and the one in production."
            )
        shown = [drawn.sight for drawn, column in zip(found, columns, strict=True) if column.tiles]
        extent = found[-1].extent
        if any(_is_other(drawn.extent, extent) for drawn in found):
            self._note(
                "Not all runs are given drawings at the same size: their lines are shown as for "
                f"{found[-1].column.name}."
            )
        return Comparison(
            rows=tuple(self._rows(reference, shown, extent)),
            columns=tuple(columns),
            baselines=tuple(self._baselines(judge, extent)),
            counts={VALIDATION: len(self._targets), SKETCHES: len(self._sketches)},
            training=reference.size,
            notes=tuple(self._notes),
        )

    def _note(self, what: str) -> None:
        # What holds for a run comes with each of its checkpoints.
        if what not in self._notes:
            self._notes.append(what)
            self._hooks.on_note(what)

    def _without_empty(self, sketches: Mapping[str, Image8]) -> dict[str, Image8]:
        empty = [name for name, it in sketches.items() if (normalise_sketch(it) == 255).all()]
        if empty:
            self._note(f"Left out, for nothing is drawn on them: {', '.join(empty)}.")
        return {name: it for name, it in sketches.items() if name not in empty}

    def _fit(self, extent: float) -> list[Image8]:
        """Return the sketches as a run is given them whose drawings have this extent."""
        if extent not in self._fitted:
            self._fitted[extent] = [
                normalise_sketch(sketch, PAIR_SIZE, extent) for sketch in self._sketches.values()
            ]
        return self._fitted[extent]

    def _try(self, candidate: Candidate, judge: Judge, device: torch.device) -> _Drawn | None:
        try:
            drawn = self._draw(candidate, judge, device)
        except (DamagedError, IntegrityError, NotFoundError) as error:
            self._note(f"Checkpoint {candidate.name} is left out: {error}")
            return None
        self._hooks.on_column(drawn.column)
        return drawn

    def _draw(self, candidate: Candidate, judge: Judge, device: torch.device) -> _Drawn:
        opened = candidate.open()
        if opened.pairs != self._pairs:
            run = candidate.name.partition("/")[0]
            self._note(f"Run {run} learned from another pair set than {self._pairs}.")
        fitted = self._fit(opened.extent)
        figures: dict[str, Figures] = {}
        if self._targets:
            made = self._collect(opened, self._val_drawings, device)
            figures[VALIDATION], sight = judge.judge(
                made, self._val_drawings, self._targets, self._count
            )
        if fitted:
            made = self._collect(opened, fitted, device)
            figures[SKETCHES], sight = judge.judge(made, fitted, None, self._count)
        tiles = tuple(_jpeg(made[place]) for place in self._places())
        column = Column(candidate.name, figures, tiles, candidate.promoted)
        return _Drawn(column, sight, opened.extent)

    def _collect(
        self, opened: Opened, drawings: Sequence[Image8], device: torch.device
    ) -> list[Image8]:
        made = []
        for picture in draw_pictures(opened, drawings, device):
            made.append(picture)
            self._hooks.check()
        return made

    def _count(self) -> None:
        self._hooks.check()
        self._hooks.on_picture()

    def _places(self) -> list[int]:
        """Return which drawings people see."""
        return choose_evenly(len(self._sketches) or len(self._targets), _ROWS)

    def _rows(self, reference: Reference, sights: Sequence[Sight], extent: float) -> Iterator[Row]:
        if self._sketches:
            names = list(self._sketches)
            drawings = [_on_square(sketch) for sketch in self._sketches.values()]
            lines = self._fit(extent)
        else:
            names, lines = self._val_names, self._val_drawings
            drawings = [_as_rgb(drawing) for drawing in lines]
        for place in self._places():
            name, nearest = reference.find_nearest(sights, place)
            yield Row(
                names[place],
                _jpeg(drawings[place]),
                _jpeg(_as_rgb(lines[place])),
                _jpeg(nearest),
                name,
            )

    def _baselines(self, judge: Judge, extent: float) -> Iterator[Column]:
        copied: dict[str, Figures] = {}
        true: dict[str, Figures] = {}
        if self._targets:
            on_white = [_as_rgb(drawing) for drawing in self._val_drawings]
            given = self._val_drawings, self._targets
            copied[VALIDATION], _ = judge.judge(on_white, *given, self._count)
            true[VALIDATION], _ = judge.judge(self._targets, *given, self._count)
        fitted = self._fit(extent)
        if fitted:
            on_white = [_as_rgb(drawing) for drawing in fitted]
            copied[SKETCHES], _ = judge.judge(on_white, fitted, None, self._count)
        yield Column(LINES, copied)
        if true:
            yield Column(TRUE, true)


def _is_other(extent: float, shown: float) -> bool:
    """Tell whether lines of one extent, laid over pictures of another, are off by a few pixels."""
    return abs(extent - shown) * PAIR_SIZE > 4


def _on_square(sketch: Image8) -> Image8:
    """Return a drawing as it was made, whole, on a white square: uint8 256×256×3."""
    return centre(fit_picture(sketch, PAIR_SIZE, "contain"), PAIR_SIZE, _PAPER)


def _as_rgb(drawing: Image8) -> Image8:
    return np.repeat(drawing[..., np.newaxis], 3, axis=2)


def _jpeg(picture: Image8) -> bytes:
    return encode_jpeg(picture, quality=90, chroma="4:4:4")
