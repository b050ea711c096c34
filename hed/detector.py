"""Pictures of any size to edge maps of the same size."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import InputError
from hed.crop_plan import BORDER, Plan
from hed.engines import Engine, create_engine
from hed.weights import Weights, load_weights

Picture = NDArray[np.uint8]
Map = NDArray[np.float32]

# A network is made for one size, and making one costs as much as a picture or two: pictures whose
# sides round up to the same multiple share it.
_SIDE_STEP = 64


@dataclass
class _Place:
    """Where a picture's edges will be found: in a batch, once that is submitted."""

    index: int
    height: int
    width: int
    edges: Future[Map] | None = None

    def take(self) -> Map:
        assert self.edges is not None, "its batch was submitted"
        return self.edges.result()[self.index, : self.height, : self.width]


class EdgeDetector:
    """HED with weights and an engine; may be shared between threads.

    Attributes
    ----------
    weights : what it runs with; ``weights.threshold`` is the edge threshold that goes with it.
    engine : what runs it.
    border : reflected pixels added on each side before, and cut off after, the network.
    """

    def __init__(self, engine: Engine, weights: Weights, border: int = BORDER) -> None:
        if border < 0:
            raise InputError(f"The border must be 0 px or more, got {border}.")
        self.weights = weights
        self.engine = engine
        self.border = border

    @classmethod
    def load(
        cls,
        engine: str = "opencv",
        weights: str | Path | None = None,
        border: int = BORDER,
        workers: int | None = None,
        precision: str = "auto",
    ) -> "EdgeDetector":
        """Return a detector, fetching the default weights on first use.

        Parameters
        ----------
        engine, workers, precision : see ``hed.engines.create_engine``.
        weights : path of a weights file in one of the forms that ``load_weights`` takes, or None
            for the default ones.
        border : pixels of reflected border, 0 or more.

        Raises
        ------
        InputError
            If the engine is unknown or not installed, the file is not HED's weights, or the border
            is negative.
        SourceError, IntegrityError
            If the default weights cannot be fetched or fail their check.
        """
        table = load_weights(None if weights is None else Path(weights))
        return cls(create_engine(engine, table, workers, precision), table, border)

    def detect(self, pictures: Sequence[Picture]) -> list[Map]:
        """Return the edge probability of every pixel.

        Parameters
        ----------
        pictures : uint8 H×W×3 RGB arrays, of equal or different sizes.

        Returns
        -------
        list of ndarray
            float32 H×W in [0, 1], in the order of ``pictures``.

        Raises
        ------
        InputError
            If an array is not a uint8 RGB picture with at least one pixel.
        """
        return [edges for edges in self.stream(pictures) if edges is not None]

    def stream(self, pictures: Iterable[Picture | None]) -> Iterator[Map | None]:
        """Return edge maps one by one, asking for pictures early enough that no network waits.

        Parameters
        ----------
        pictures : as for ``detect``; None holds a place.

        Yields
        ------
        ndarray or None
            In the order of ``pictures``: float32 H×W in [0, 1]; None for None.

        Raises
        ------
        InputError
            If an array is not a uint8 RGB picture with at least one pixel.
        """
        waiting: deque[_Place | None] = deque()
        batch = _Batch(self.engine)
        try:
            for number, picture in enumerate(pictures):
                if picture is None:
                    waiting.append(None)
                else:
                    _check(picture, number)
                    waiting.append(batch.add(*self._prepare(picture), *picture.shape[:2]))
                while self._is_due(waiting):
                    yield _take(waiting, batch)
            while waiting:
                yield _take(waiting, batch)
        finally:
            # Whoever stops early does not wait for what was queued.
            for place in waiting:
                if place is not None and place.edges is not None:
                    place.edges.cancel()

    def _is_due(self, waiting: "deque[_Place | None]") -> bool:
        """Tell whether the first map is there, or enough others keep the network busy."""
        if not waiting:
            return False
        first = waiting[0]
        if first is None or (first.edges is not None and first.edges.done()):
            return True
        pictures = sum(place is not None for place in waiting)
        return pictures > self.engine.in_flight * self.engine.batch

    def _prepare(self, picture: Picture) -> tuple[Map, Plan]:
        """Return what the network is given, float32 1×3×H×W, and the plan for it."""
        height, width = picture.shape[:2]
        # Beyond the picture's end goes the same reflection as in the border.
        rest_y, rest_x = -height % _SIDE_STEP, -width % _SIDE_STEP
        plan = self.weights.plan(height + rest_y, width + rest_x, self.border)
        rows, columns = plan.rows, plan.columns
        bordered = cv2.copyMakeBorder(
            picture,
            *(rows.before, rows.after + rest_y, columns.before, columns.after + rest_x),
            cv2.BORDER_REFLECT_101,
        )
        # The mean goes by the channels' new order.
        blob = cv2.dnn.blobFromImage(bordered, mean=self.weights.mean, swapRB=True)
        return np.asarray(blob, np.float32), plan


class _Batch:
    """Pictures of one size, submitted together."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._plan: Plan | None = None
        self._blobs: list[Map] = []
        self._places: list[_Place] = []

    def add(self, blob: Map, plan: Plan, height: int, width: int) -> _Place:
        if plan != self._plan:
            self.submit()
        place = _Place(len(self._blobs), height, width)
        self._plan = plan
        self._blobs.append(blob)
        self._places.append(place)
        if len(self._blobs) == self._engine.batch:
            self.submit()
        return place

    def submit(self) -> None:
        if self._blobs and self._plan is not None:
            blobs = self._blobs[0] if len(self._blobs) == 1 else np.concatenate(self._blobs)
            edges = self._engine.submit(blobs, self._plan)
            for place in self._places:
                place.edges = edges
        self._blobs, self._places = [], []


def _take(waiting: deque[_Place | None], batch: _Batch) -> Map | None:
    place = waiting.popleft()
    if place is None:
        return None
    if place.edges is None:
        batch.submit()
    return place.take()


def _check(picture: Picture, number: int) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise InputError(
            f"Picture {number} must be uint8 H×W×3 (RGB), got {picture.dtype} "
            f"{'×'.join(map(str, picture.shape))}."
        )
    if picture.size == 0:
        raise InputError(f"Picture {number} has no pixels.")
