import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from config.errors import InputError
from hed import BORDER, EdgeDetector, load_weights
from hed.engines import Engine, Runner
from postprocess import clean_edges, compare_drawings
from tests.conftest import draw_scene


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (37, 64), (64, 64)])
def test_the_map_has_the_size_of_the_picture(
    detector: EdgeDetector, shape: tuple[int, int]
) -> None:
    (edges,) = detector.detect([draw_scene(0)[: shape[0], : shape[1]]])
    assert edges.shape == shape
    assert edges.dtype == np.float32
    assert edges.min() >= 0
    assert edges.max() <= 1


def test_tiny_pictures_do_without_a_border(detector: EdgeDetector) -> None:
    bare = EdgeDetector(detector.engine, detector.weights, border=0)
    picture = draw_scene(0)[:5, :9]
    first = bare.detect([picture])[0]
    assert first.shape == (5, 9)
    for _ in range(10):
        # Memory that was used before, in case any of it is read.
        np.full(300_000, np.float32(50))
        assert (bare.detect([picture])[0] == first).all()


def test_edges_are_found_where_they_are(detector: EdgeDetector) -> None:
    picture = np.full((64, 64, 3), 240, np.uint8)
    picture[:, 32:] = (20, 40, 160)
    (edges,) = detector.detect([picture])
    assert edges[8:-8, 30:34].max(axis=1).min() > 0.6
    assert edges[8:-8, 5:20].max() < 0.2


def test_the_order_of_channels_matters(detector: EdgeDetector) -> None:
    picture = draw_scene(3)
    normal, swapped = detector.detect([picture, picture[..., ::-1]])
    assert np.abs(normal - swapped).max() > 0.01


def test_a_list_of_different_sizes_keeps_its_order(detector: EdgeDetector) -> None:
    pictures = [draw_scene(1), draw_scene(2)[:48], draw_scene(3)]
    together = detector.detect(pictures)
    for picture, edges in zip(pictures, together, strict=True):
        assert (detector.detect([picture])[0] == edges).all()
    assert detector.detect([]) == []


def test_threads_share_one_detector(detector: EdgeDetector) -> None:
    pictures = [draw_scene(seed, 48, 48) for seed in range(4)]
    expected = detector.detect(pictures)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda p: detector.detect([p])[0], pictures * 3))
    for edges, wanted in zip(found, expected * 3, strict=True):
        assert (edges == wanted).all()


def test_the_usual_border_draws_the_lines_of_any_larger_one() -> None:
    """16 px more leave the pooling cells where they are."""
    picture = draw_scene(7, 96, 96)
    usual, wider = (EdgeDetector.load(border=b).detect([picture])[0] for b in (BORDER, BORDER + 32))
    assert np.abs(usual - wider).max() < 0.02
    agreement = compare_drawings(clean_edges(usual, 0.5), clean_edges(wider, 0.5), 1)
    assert agreement.f1 > 0.999


def test_pictures_are_asked_for_before_maps_are_taken(detector: EdgeDetector) -> None:
    """So many that no network waits, and no more."""
    asked = 0

    def pictures() -> Iterator[NDArray[np.uint8] | None]:
        nonlocal asked
        for seed in range(20):
            asked += 1
            yield draw_scene(seed, 32, 32) if seed % 3 else None

    ahead, taken = detector.engine.in_flight, 0
    for number, edges in enumerate(detector.stream(pictures())):
        assert (edges is None) == (number % 3 == 0)
        taken += edges is not None
        assert asked - asked // 3 - taken <= ahead + 1


def make_engine(run: Runner, workers: int) -> EdgeDetector:
    return EdgeDetector(Engine("test", lambda plan: run, workers), load_weights(), border=0)


def test_what_was_rejected_leaves_no_network_idle() -> None:
    """Seven of eight places are empty, and two networks run at once all the same."""
    together = threading.Barrier(2, timeout=30)

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        together.wait()
        return batch[:, 0]

    pictures = (None if number % 8 else draw_scene(number, 64, 64) for number in range(80))
    assert sum(edges is not None for edges in make_engine(run, 2).stream(pictures)) == 10


def test_who_stops_early_waits_for_nothing_that_was_queued() -> None:
    begun = 0
    go = threading.Semaphore(1)

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal begun
        begun += 1
        assert go.acquire(timeout=30)
        return batch[:, 0]

    hed = make_engine(run, 1)
    stream = hed.stream(draw_scene(number, 64, 64) for number in range(20))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    go.release()
    hed.engine._threads.shutdown(wait=True)
    assert begun <= 2, "the queue was worked off"


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_picture_is_told(detector: EdgeDetector, picture: NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match="Picture 1"):
        detector.detect([draw_scene(0), picture])


def test_unknown_engines_and_negative_borders_are_told() -> None:
    with pytest.raises(InputError, match="opencv"):
        EdgeDetector.load(engine="magic")
    with pytest.raises(InputError, match="-1"):
        EdgeDetector.load(border=-1)
