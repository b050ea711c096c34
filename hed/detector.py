"""Edge detection for pictures of any size."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import InputError
from hed.crop_plan import BORDER, CropPlan
from hed.engines import HedEngine, create_engine
from hed.engines.engine import Float32Array
from hed.weights import HedWeights, load_weights

Picture = NDArray[np.uint8]
EdgeMap = NDArray[np.float32]

# A network is built for one input size, which costs as much as detecting a picture or two. Sizes
# are rounded up to a multiple of this, so that similar pictures share a network.
_SIZE_STEP = 64


@dataclass
class _PendingEdges:
    """Position of one picture in a batch, and the batch's edges once it is submitted."""

    index: int
    height: int
    width: int
    edges: Future[EdgeMap] | None = None

    def result(self) -> EdgeMap:
        assert self.edges is not None, "the batch was not submitted"
        return self.edges.result()[self.index, : self.height, : self.width]


class EdgeDetector:
    """HED with its weights and an inference engine. Instances may be shared between threads.

    Attributes
    ----------
    weights : HedWeights
        The loaded weights; ``weights.threshold`` is the matching edge threshold.
    engine : HedEngine
        Runs the network.
    border : int, pixels, at least 0
        Reflected border added to each side before inference and cut off afterwards.

    Examples
    --------
    >>> import numpy as np
    >>> detector = EdgeDetector.load(engine="opencv")
    >>> (edges,) = detector.detect([np.zeros((48, 64, 3), np.uint8)])
    >>> edges.shape, edges.dtype
    ((48, 64), dtype('float32'))
    """

    def __init__(self, engine: HedEngine, weights: HedWeights, border: int = BORDER) -> None:
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
        """Load weights and start an engine. The default weights are fetched on first use.

        Parameters
        ----------
        engine : str
            ``auto``, ``opencv``, ``openvino`` or ``torch``; see ``hed.engines.create_engine``.
        weights : str, Path or None
            Path of a weights file in any format that ``load_weights`` reads; None for the default
            weights.
        border : int, pixels, at least 0
            Reflected border around each picture.
        workers : int or None
            Number of networks that run at the same time; see ``hed.engines.create_engine``.
        precision : {"auto", "f32"}
            See ``hed.engines.create_engine``.

        Returns
        -------
        EdgeDetector

        Raises
        ------
        InputError
            If the engine is unknown or not installed, the file does not hold HED's weights, or the
            border is negative.
        SourceError, IntegrityError
            If the default weights cannot be fetched or fail their checksum.
        """
        hed_weights = load_weights(None if weights is None else Path(weights))
        return cls(create_engine(engine, hed_weights, workers, precision), hed_weights, border)

    def detect(self, pictures: Sequence[Picture]) -> list[EdgeMap]:
        """Return the edge probability of every pixel.

        Parameters
        ----------
        pictures : sequence of ndarray, uint8, H×W×3, RGB
            Sizes may differ.

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

    def stream(self, pictures: Iterable[Picture | None]) -> Iterator[EdgeMap | None]:
        """Yield edge maps one by one, reading pictures ahead so that no network is idle.

        Parameters
        ----------
        pictures : iterable of ndarray or None
            As for ``detect``. None marks a picture that was rejected.

        Yields
        ------
        ndarray or None
            float32 H×W in [0, 1], in the order of ``pictures``; None for None.

        Raises
        ------
        InputError
            If an array is not a uint8 RGB picture with at least one pixel.
        """
        queue: deque[_PendingEdges | None] = deque()
        batch = _PictureBatch(self.engine)
        try:
            for number, picture in enumerate(pictures):
                if picture is None:
                    queue.append(None)
                else:
                    _check_picture(picture, number)
                    queue.append(batch.add(*self._preprocess(picture), *picture.shape[:2]))
                while self._is_next_ready(queue):
                    yield _pop_result(queue, batch)
            while queue:
                yield _pop_result(queue, batch)
        finally:
            # If the caller stops early, do not run the queued batches.
            for pending in queue:
                if pending is not None and pending.edges is not None:
                    pending.edges.cancel()

    def _is_next_ready(self, queue: "deque[_PendingEdges | None]") -> bool:
        """Return whether the first result can be taken without leaving a network idle."""
        if not queue:
            return False
        first = queue[0]
        if first is None or (first.edges is not None and first.edges.done()):
            return True
        num_pictures = sum(pending is not None for pending in queue)
        return num_pictures > self.engine.max_in_flight * self.engine.batch_size

    def _preprocess(self, picture: Picture) -> tuple[Float32Array, CropPlan]:
        """Return the network's input, float32 1×3×H×W, and the crop plan for it."""
        height, width = picture.shape[:2]
        # The rounded size is filled with the same reflection as the border.
        extra_rows, extra_columns = -height % _SIZE_STEP, -width % _SIZE_STEP
        plan = self.weights.plan_crop(height + extra_rows, width + extra_columns, self.border)
        rows, columns = plan.rows, plan.columns
        bordered = cv2.copyMakeBorder(
            picture,
            *(
                rows.pad_before,
                rows.pad_after + extra_rows,
                columns.pad_before,
                columns.pad_after + extra_columns,
            ),
            cv2.BORDER_REFLECT_101,
        )
        # OpenCV subtracts the mean after swapping the channels: it is in BGR order.
        blob = cv2.dnn.blobFromImage(bordered, mean=self.weights.mean, swapRB=True)
        return np.asarray(blob, np.float32), plan


class _PictureBatch:
    """Collects pictures of one size and submits them together."""

    def __init__(self, engine: HedEngine) -> None:
        self._engine = engine
        self._plan: CropPlan | None = None
        self._blobs: list[Float32Array] = []
        self._pending: list[_PendingEdges] = []

    def add(self, blob: Float32Array, plan: CropPlan, height: int, width: int) -> _PendingEdges:
        if plan != self._plan:
            self.submit()
        pending = _PendingEdges(len(self._blobs), height, width)
        self._plan = plan
        self._blobs.append(blob)
        self._pending.append(pending)
        if len(self._blobs) == self._engine.batch_size:
            self.submit()
        return pending

    def submit(self) -> None:
        if self._blobs and self._plan is not None:
            blobs = self._blobs[0] if len(self._blobs) == 1 else np.concatenate(self._blobs)
            edges = self._engine.submit(blobs, self._plan)
            for pending in self._pending:
                pending.edges = edges
        self._blobs, self._pending = [], []


def _pop_result(queue: deque[_PendingEdges | None], batch: _PictureBatch) -> EdgeMap | None:
    pending = queue.popleft()
    if pending is None:
        return None
    if pending.edges is None:
        batch.submit()
    return pending.result()


def _check_picture(picture: Picture, number: int) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise InputError(
            f"Picture {number} must be uint8 H×W×3 (RGB), got {picture.dtype} "
            f"{'×'.join(map(str, picture.shape))}."
        )
    if picture.size == 0:
        raise InputError(f"Picture {number} has no pixels.")
