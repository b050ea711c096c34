from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from config.errors import InputError, IntegrityError
from hed import EdgeDetector
from model.evaluation import compare as compare_module
from model.evaluation.candidates import list_candidates
from model.evaluation.compare import EvaluationCallbacks, LineSettings, compare_checkpoints
from model.evaluation.comparison import (
    LINES_BASELINE,
    SKETCHES,
    TARGETS_BASELINE,
    VALIDATION,
    CheckpointComparison,
    CheckpointResult,
    select_top,
)
from model.evaluation.metrics import METRICS, Estimate
from model.evaluation.metrics.features import has_feature_extractor
from storage import LocalStore
from tests.model.checkpoints import save_test_run
from tests.model.pairs import publish_test_pairs
from tests.model.training.test_samples import make_sketch

SKETCH_IMAGES = {"one.png": make_sketch(), "two.png": make_sketch()[::-1]}
NO_TARGETS = {"l1", "ssim", "ms_ssim"}


def run_comparison(
    store: LocalStore,
    quick_detector: EdgeDetector,
    sketches: Mapping[str, NDArray[np.uint8]],
    **callbacks: Any,
) -> CheckpointComparison:
    given = list_candidates(store, "tiny")
    lines = LineSettings(0.5, 5)
    return compare_checkpoints(
        store,
        "tiny",
        "pairs",
        given,
        sketches,
        quick_detector,
        lines,
        2,
        EvaluationCallbacks(**callbacks),
    )


def test_checkpoints_are_judged_on_pairs_and_sketches(
    store: LocalStore, quick_detector: EdgeDetector
) -> None:
    publish_test_pairs(store, "tttvvv")
    save_test_run(store, "aaaa", 2)
    seen: list[str] = []
    counts: list[int] = []
    found = run_comparison(
        store,
        quick_detector,
        {**SKETCH_IMAGES, "empty.png": np.full((60, 50, 3), 255, np.uint8)},
        on_start=counts.append,
        on_picture=lambda: counts.append(-1),
        on_result=lambda column: seen.append(column.name),
    )
    assert seen == [column.name for column in found.results] == ["aaaa/1", "aaaa/2"]
    assert sum(counts) == 0, "other pictures were counted than announced"
    assert found.counts == {VALIDATION: 2, SKETCHES: 2}
    assert found.num_reference == 3
    assert any("empty.png" in note for note in found.notes)
    all_keys = {metric.key for metric in METRICS}
    if not has_feature_extractor():
        all_keys.remove("kid_efflite0")
    for column in (*found.results, found.baselines[0]):
        assert set(column.metrics[VALIDATION]) == all_keys
        assert set(column.metrics[SKETCHES]) == all_keys - NO_TARGETS
    copied, true = found.baselines
    assert (copied.name, true.name) == (LINES_BASELINE, TARGETS_BASELINE)
    assert [true.metrics[VALIDATION][key].value for key in ("l1", "ssim", "ms_ssim")] == [0, 1, 1]
    # What the sheet warns of: drawing nothing but lines is perfect here, and not a picture.
    assert copied.metrics[SKETCHES]["edge_f1"].value > 0.95
    assert copied.metrics[SKETCHES]["near_white"].value > 0.95
    assert [row.name for row in found.rows] == list(SKETCH_IMAGES)
    assert found.shown_inputs == SKETCHES
    assert all(len(column.tiles) == 2 for column in found.results)


@pytest.mark.parametrize(
    ("splits", "sketches", "shown"),
    [
        ("tttv", {}, VALIDATION),
        ("ttt", {"one.png": make_sketch()}, SKETCHES),
        ("tv", SKETCH_IMAGES, SKETCHES),
    ],
)
def test_little_is_enough(
    store: LocalStore,
    quick_detector: EdgeDetector,
    splits: str,
    sketches: dict[str, NDArray[np.uint8]],
    shown: str,
) -> None:
    publish_test_pairs(store, splits)
    save_test_run(store, "aaaa", 1)
    found = run_comparison(store, quick_detector, sketches)
    assert found.shown_inputs == shown
    (column,) = found.results
    assert set(column.metrics) == {
        *([VALIDATION] if "v" in splits else []),
        *([SKETCHES] if sketches else []),
    }
    assert ("no drawings by hand" in " ".join(found.notes)) == (not sketches)
    assert ("no validation pairs" in " ".join(found.notes)) == ("v" not in splits)


def test_nothing_is_not(store: LocalStore, quick_detector: EdgeDetector) -> None:
    publish_test_pairs(store, "t")
    run_of = save_test_run(store, "aaaa", 1)
    with pytest.raises(InputError, match="neither validation pairs nor drawings"):
        run_comparison(store, quick_detector, {})
    run_of.put("checkpoints/epoch-0001.pt", b"damaged")
    with pytest.raises(IntegrityError, match="No checkpoint of tiny"):
        run_comparison(store, quick_detector, SKETCH_IMAGES)


def test_a_damaged_one_is_left_out(
    store: LocalStore, quick_detector: EdgeDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_test_pairs(store, "ttv")
    save_test_run(store, "aaaa", 2, pairs="others").put("checkpoints/epoch-0001.pt", b"damaged")
    # Without the extra, too.
    monkeypatch.setattr(compare_module, "has_feature_extractor", lambda: False)
    notes: list[str] = []
    found = run_comparison(store, quick_detector, {"one.png": make_sketch()}, on_note=notes.append)
    assert [column.name for column in found.results] == ["aaaa/2"]
    assert tuple(notes) == found.notes
    assert any("aaaa/1 is left out" in note for note in notes)
    assert any("pip install 'icanvas[kid]'" in note for note in notes)
    assert any("another pair set" in note for note in notes)
    assert "kid_efflite0" not in found.results[0].metrics[VALIDATION]


def test_runs_of_other_drawings_and_of_no_recipe(
    store: LocalStore, quick_detector: EdgeDetector
) -> None:
    publish_test_pairs(store, "ttv")
    save_test_run(store, "aaaa", 1).put("recipe.json", b"not json")
    save_test_run(store, "bbbb", 1)
    larger = save_test_run(store, "cccc", 1)
    facts = larger.get("recipe.json")
    assert facts is not None
    larger.put("recipe.json", facts.replace(b'"extent": 0.8', b'"extent": 0.95'))
    found = run_comparison(store, quick_detector, {"one.png": make_sketch()})
    assert [column.name for column in found.results] == ["bbbb/1", "cccc/1"]
    assert any("aaaa/1 is left out" in note and "recipe.json" in note for note in found.notes)
    assert any("lines are shown as for cccc/1" in note for note in found.notes)


def test_what_was_learned_by_heart_is_found(
    store: LocalStore, quick_detector: EdgeDetector
) -> None:
    from model.data.dataset import PairDataset
    from model.evaluation.reference_set import ReferenceSet, extract_features

    publish_test_pairs(store, "tttttt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 256)
    learned = pairs.load_pair(4)[1]
    other = np.full((256, 256, 3), 128, np.uint8)
    sights = [extract_features([other, other], None), extract_features([other, learned], None)]
    name, nearest = ReferenceSet(pairs, 100, None).nearest_picture(sights, 1)
    assert name == pairs.source_paths()[4]
    assert (nearest == learned).all()


def test_the_best_are_shown_and_the_one_in_production() -> None:
    def column(number: int) -> CheckpointResult:
        figures = {
            SKETCHES: {
                "edge_f1": Estimate(number / 20, None, None, 1),
                "colour_distance": Estimate(1 - number / 20, None, None, 1),
            }
        }
        return CheckpointResult(f"run/{number}", figures, (b"tile",), promoted=number == 2)

    columns = select_top([column(number) for number in range(12)])
    shown = [it.name for it in columns if it.tiles]
    assert shown == ["run/2", *(f"run/{number}" for number in range(5, 12))]
    assert [it.name for it in columns] == [f"run/{number}" for number in range(12)]
