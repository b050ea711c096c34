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
    candidates = list_candidates(store, "tiny")
    lines = LineSettings(0.5, 5)
    return compare_checkpoints(
        store,
        "tiny",
        "pairs",
        candidates,
        sketches,
        quick_detector,
        lines,
        2,
        EvaluationCallbacks(**callbacks),
    )


def test_checkpoints_are_evaluated_on_pairs_and_sketches(
    store: LocalStore, quick_detector: EdgeDetector
) -> None:
    publish_test_pairs(store, "tttvvv")
    save_test_run(store, "aaaa", 2)
    names: list[str] = []
    counts: list[int] = []
    comparison = run_comparison(
        store,
        quick_detector,
        {**SKETCH_IMAGES, "empty.png": np.full((60, 50, 3), 255, np.uint8)},
        on_start=counts.append,
        on_picture=lambda: counts.append(-1),
        on_result=lambda result: names.append(result.name),
    )
    assert names == [result.name for result in comparison.results] == ["aaaa/1", "aaaa/2"]
    assert sum(counts) == 0, "the announced number of pictures is wrong"
    assert comparison.counts == {VALIDATION: 2, SKETCHES: 2}
    assert comparison.num_reference == 3
    assert any("empty.png" in note for note in comparison.notes)
    all_keys = {metric.key for metric in METRICS}
    if not has_feature_extractor():
        all_keys.remove("kid_efflite0")
    for result in (*comparison.results, comparison.baselines[0]):
        assert set(result.metrics[VALIDATION]) == all_keys
        assert set(result.metrics[SKETCHES]) == all_keys - NO_TARGETS
    lines_baseline, targets_baseline = comparison.baselines
    assert (lines_baseline.name, targets_baseline.name) == (LINES_BASELINE, TARGETS_BASELINE)
    assert [
        targets_baseline.metrics[VALIDATION][key].value for key in ("l1", "ssim", "ms_ssim")
    ] == [0, 1, 1]
    # The sheet warns of this: copied lines alone get a perfect score.
    assert lines_baseline.metrics[SKETCHES]["edge_f1"].value > 0.95
    assert lines_baseline.metrics[SKETCHES]["near_white"].value > 0.95
    assert [row.name for row in comparison.rows] == list(SKETCH_IMAGES)
    assert comparison.shown_inputs == SKETCHES
    assert all(len(result.tiles) == 2 for result in comparison.results)


@pytest.mark.parametrize(
    ("splits", "sketches", "shown"),
    [
        ("tttv", {}, VALIDATION),
        ("ttt", {"one.png": make_sketch()}, SKETCHES),
        ("tv", SKETCH_IMAGES, SKETCHES),
    ],
)
def test_validation_pairs_or_sketches_suffice(
    store: LocalStore,
    quick_detector: EdgeDetector,
    splits: str,
    sketches: dict[str, NDArray[np.uint8]],
    shown: str,
) -> None:
    publish_test_pairs(store, splits)
    save_test_run(store, "aaaa", 1)
    comparison = run_comparison(store, quick_detector, sketches)
    assert comparison.shown_inputs == shown
    (result,) = comparison.results
    assert set(result.metrics) == {
        *([VALIDATION] if "v" in splits else []),
        *([SKETCHES] if sketches else []),
    }
    assert ("no sketches" in " ".join(comparison.notes)) == (not sketches)
    assert ("no validation pairs" in " ".join(comparison.notes)) == ("v" not in splits)


def test_missing_inputs_or_checkpoints_raise(
    store: LocalStore, quick_detector: EdgeDetector
) -> None:
    publish_test_pairs(store, "t")
    stored_run = save_test_run(store, "aaaa", 1)
    with pytest.raises(InputError, match="neither validation pairs nor sketches"):
        run_comparison(store, quick_detector, {})
    stored_run.put("checkpoints/epoch-0001.pt", b"damaged")
    with pytest.raises(IntegrityError, match="No checkpoint of tiny"):
        run_comparison(store, quick_detector, SKETCH_IMAGES)


def test_damaged_checkpoint_is_left_out(
    store: LocalStore, quick_detector: EdgeDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_test_pairs(store, "ttv")
    save_test_run(store, "aaaa", 2, pairs="others").put("checkpoints/epoch-0001.pt", b"damaged")
    # Also without the extra ``kid``.
    monkeypatch.setattr(compare_module, "has_feature_extractor", lambda: False)
    notes: list[str] = []
    comparison = run_comparison(
        store, quick_detector, {"one.png": make_sketch()}, on_note=notes.append
    )
    assert [result.name for result in comparison.results] == ["aaaa/2"]
    assert tuple(notes) == comparison.notes
    assert any("aaaa/1 is left out" in note for note in notes)
    assert any("pip install 'icanvas[kid]'" in note for note in notes)
    assert any("another pair set" in note for note in notes)
    assert "kid_efflite0" not in comparison.results[0].metrics[VALIDATION]


def test_run_with_other_extent_or_damaged_recipe_gives_note(
    store: LocalStore, quick_detector: EdgeDetector
) -> None:
    publish_test_pairs(store, "ttv")
    save_test_run(store, "aaaa", 1).put("recipe.json", b"not json")
    save_test_run(store, "bbbb", 1)
    larger = save_test_run(store, "cccc", 1)
    recipe = larger.get("recipe.json")
    assert recipe is not None
    larger.put("recipe.json", recipe.replace(b'"extent": 0.8', b'"extent": 0.95'))
    comparison = run_comparison(store, quick_detector, {"one.png": make_sketch()})
    assert [result.name for result in comparison.results] == ["bbbb/1", "cccc/1"]
    assert any("aaaa/1 is left out" in note and "recipe.json" in note for note in comparison.notes)
    assert any("lines are shown as for cccc/1" in note for note in comparison.notes)


def test_nearest_picture_finds_memorized_one(
    store: LocalStore, quick_detector: EdgeDetector
) -> None:
    from model.data.dataset import PairDataset
    from model.evaluation.reference_set import ReferenceSet, extract_features

    publish_test_pairs(store, "tttttt")
    pairs = PairDataset(store, "tiny", "pairs", "train", 256)
    memorized = pairs.load_pair(4)[1]
    other = np.full((256, 256, 3), 128, np.uint8)
    features = [extract_features([other, other], None), extract_features([other, memorized], None)]
    name, nearest = ReferenceSet(pairs, 100, None).nearest_picture(features, 1)
    assert name == pairs.source_paths()[4]
    assert (nearest == memorized).all()


def test_best_and_promoted_checkpoints_are_displayed() -> None:
    def make_result(number: int) -> CheckpointResult:
        metrics = {
            SKETCHES: {
                "edge_f1": Estimate(number / 20, None, None, 1),
                "colour_distance": Estimate(1 - number / 20, None, None, 1),
            }
        }
        return CheckpointResult(f"run/{number}", metrics, (b"tile",), promoted=number == 2)

    results = select_top([make_result(number) for number in range(12)])
    displayed = [result.name for result in results if result.tiles]
    assert displayed == ["run/2", *(f"run/{number}" for number in range(5, 12))]
    assert [result.name for result in results] == [f"run/{number}" for number in range(12)]
