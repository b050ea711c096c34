import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from config.errors import InputError
from hed import BORDER, EdgeDetector, load_weights
from hed.engines import BatchRunner, HedEngine
from postprocess import clean_edges, compare_drawings
from tests.conftest import draw_scene


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (37, 64), (64, 64)])
def test_edge_map_has_size_of_picture(detector: EdgeDetector, shape: tuple[int, int]) -> None:
    (edges,) = detector.detect([draw_scene(0)[: shape[0], : shape[1]]])
    assert edges.shape == shape
    assert edges.dtype == np.float32
    assert edges.min() >= 0
    assert edges.max() <= 1


def test_tiny_pictures_work_without_border(detector: EdgeDetector) -> None:
    bare = EdgeDetector(detector.engine, detector.weights, border=0)
    picture = draw_scene(0)[:5, :9]
    first = bare.detect([picture])[0]
    assert first.shape == (5, 9)
    for _ in range(10):
        # Dirty memory, in case OpenCV reads uninitialized values.
        np.full(300_000, np.float32(50))
        assert (bare.detect([picture])[0] == first).all()


def test_edge_is_detected_at_its_position(detector: EdgeDetector) -> None:
    picture = np.full((64, 64, 3), 240, np.uint8)
    picture[:, 32:] = (20, 40, 160)
    (edges,) = detector.detect([picture])
    assert edges[8:-8, 30:34].max(axis=1).min() > 0.6
    assert edges[8:-8, 5:20].max() < 0.2


def test_channel_order_affects_result(detector: EdgeDetector) -> None:
    picture = draw_scene(3)
    normal, swapped = detector.detect([picture, picture[..., ::-1]])
    assert np.abs(normal - swapped).max() > 0.01


def test_different_sizes_keep_their_order(detector: EdgeDetector) -> None:
    pictures = [draw_scene(1), draw_scene(2)[:48], draw_scene(3)]
    together = detector.detect(pictures)
    for picture, edges in zip(pictures, together, strict=True):
        assert (detector.detect([picture])[0] == edges).all()
    assert detector.detect([]) == []


def test_detector_is_thread_safe(detector: EdgeDetector) -> None:
    pictures = [draw_scene(seed, 48, 48) for seed in range(4)]
    expected = detector.detect(pictures)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda p: detector.detect([p])[0], pictures * 3))
    for edges, expected_edges in zip(results, expected * 3, strict=True):
        assert (edges == expected_edges).all()


def test_default_border_gives_same_lines_as_larger_border() -> None:
    """A multiple of 16 px more does not move the pooling cells."""
    picture = draw_scene(7, 96, 96)
    usual, wider = (EdgeDetector.load(border=b).detect([picture])[0] for b in (BORDER, BORDER + 32))
    assert np.abs(usual - wider).max() < 0.02
    agreement = compare_drawings(clean_edges(usual, 0.5), clean_edges(wider, 0.5), 1)
    assert agreement.f1 > 0.999


def test_stream_reads_ahead_within_limit(detector: EdgeDetector) -> None:
    """The stream reads enough pictures to keep all networks busy, and no more."""
    num_read = 0

    def pictures() -> Iterator[NDArray[np.uint8] | None]:
        nonlocal num_read
        for seed in range(20):
            num_read += 1
            yield draw_scene(seed, 32, 32) if seed % 3 else None

    max_ahead, num_results = detector.engine.max_in_flight, 0
    for number, edges in enumerate(detector.stream(pictures())):
        assert (edges is None) == (number % 3 == 0)
        num_results += edges is not None
        assert num_read - num_read // 3 - num_results <= max_ahead + 1


def make_detector(run: BatchRunner, workers: int) -> EdgeDetector:
    return EdgeDetector(HedEngine("test", lambda plan: run, workers), load_weights(), border=0)


def test_rejected_pictures_leave_no_network_idle() -> None:
    """Two networks run at the same time although seven of eight pictures were rejected."""
    barrier = threading.Barrier(2, timeout=30)

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        barrier.wait()
        return batch[:, 0]

    pictures = (None if number % 8 else draw_scene(number, 64, 64) for number in range(80))
    assert sum(edges is not None for edges in make_detector(run, 2).stream(pictures)) == 10


def test_closing_stream_cancels_queued_batches() -> None:
    num_started = 0
    permits = threading.Semaphore(1)

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal num_started
        num_started += 1
        assert permits.acquire(timeout=30)
        return batch[:, 0]

    hed = make_detector(run, 1)
    stream = hed.stream(draw_scene(number, 64, 64) for number in range(20))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    permits.release()
    hed.engine._executor.shutdown(wait=True)
    assert num_started <= 2, "queued batches were run"


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_invalid_picture_raises_input_error(
    detector: EdgeDetector, picture: NDArray[np.uint8]
) -> None:
    with pytest.raises(InputError, match="Picture 1"):
        detector.detect([draw_scene(0), picture])


def test_unknown_engine_and_negative_border_raise_input_error() -> None:
    with pytest.raises(InputError, match="opencv"):
        EdgeDetector.load(engine="magic")
    with pytest.raises(InputError, match="-1"):
        EdgeDetector.load(border=-1)
