from pathlib import Path

import numpy as np
import pytest
import torch

from config.errors import IntegrityError, SourceError
from model.data.dataset import scale_drawing
from model.evaluation.candidates import generate_pictures, list_candidates
from model.export.promotion import promote_checkpoint
from model.training.checkpoint import restore_generator
from storage import LocalStore
from storage.runs import checkpoint_name, record_name
from tests.model.checkpoints import SMALL, save_test_run
from tests.model.pairs import make_pair
from tests.storage.contents import promote_checkpoint as write_promotion

CPU = torch.device("cpu")


def list_names(store: LocalStore, *runs: str) -> list[str]:
    return [candidate.name for candidate in list_candidates(store, "tiny", runs)]


def test_all_stored_checkpoints_are_listed(store: LocalStore) -> None:
    save_test_run(store, "aaaa", 2)
    save_test_run(store, "bbbb", 1)
    assert list_names(store) == ["aaaa/1", "aaaa/2", "bbbb/1"]
    assert list_names(store, "bbbb") == ["bbbb/1"]
    assert not any(candidate.promoted for candidate in list_candidates(store, "tiny"))
    write_promotion(store, "aaaa", 1, "tiny")
    assert [candidate.promoted for candidate in list_candidates(store, "tiny")] == [
        True,
        False,
        False,
    ]
    assert list_names(store, "bbbb") == ["aaaa/1", "bbbb/1"], "the promoted checkpoint is missing"


def test_missing_checkpoints_and_runs_raise(store: LocalStore) -> None:
    with pytest.raises(SourceError, match="no checkpoint to compare"):
        list_candidates(store, "tiny")
    save_test_run(store, "aaaa", 1)
    with pytest.raises(SourceError, match=r"no run cccc .* aaaa"):
        list_candidates(store, "tiny", ["cccc"])


def test_pictures_are_generated_with_average(store: LocalStore) -> None:
    run = save_test_run(store, "aaaa", 1)
    (candidate,) = list_candidates(store, "tiny")
    drawings = [make_pair(number)[0] for number in range(2)]
    pictures = list(generate_pictures(candidate.load(), drawings, CPU))
    assert [picture.shape for picture in pictures] == [(256, 256, 3)] * 2

    generator, averaged = restore_generator(run.read_checkpoint(run.get_record(1)), SMALL)
    assert averaged
    small = np.stack([scale_drawing(drawing, 64) for drawing in drawings])[:, np.newaxis]
    with torch.no_grad():
        expected = generator(torch.from_numpy(small / np.float32(255)))
    for picture, one in zip(pictures, expected, strict=True):
        expected_picture = ((one.permute(1, 2, 0).numpy() + 1) * 127.5).round()
        middles = picture.reshape(64, 4, 64, 4, 3)[:, 1:3, :, 1:3].mean((1, 3))
        assert abs(middles - expected_picture).mean() < 3


def test_promoted_candidate_is_loaded_without_checkpoint(store: LocalStore) -> None:
    run = save_test_run(store, "aaaa", 2)
    drawing = make_pair(0)[0]
    first, _ = list_candidates(store, "tiny")
    (expected,) = generate_pictures(first.load(), [drawing], CPU)
    promote_checkpoint(store, "tiny", "aaaa", 1, title="Tiny")
    run.put(checkpoint_name(1), b"damaged")
    (served,) = (candidate for candidate in list_candidates(store, "tiny") if candidate.promoted)
    run.invalidate(run.get_record(1))
    deleted, other = list_candidates(store, "tiny")
    assert (deleted.name, deleted.promoted, other.name) == ("aaaa/1", True, "aaaa/2")
    for candidate in (served, deleted):
        assert candidate.sha256 == first.sha256
        loaded = candidate.load()
        assert (loaded.image_size, loaded.extent, loaded.pairs) == (64, 0.8, "pairs")
        (picture,) = generate_pictures(loaded, [drawing], CPU)
        assert (picture == expected).all()


def test_damaged_checkpoints_raise(store: LocalStore, own_store: Path) -> None:
    run = save_test_run(store, "aaaa", 2)
    damaged, broken = list_candidates(store, "tiny")
    run.put(checkpoint_name(1), b"something else")
    with pytest.raises(IntegrityError, match="SHA-256"):
        damaged.load()
    loaded = broken.load()
    with torch.no_grad():
        for weights in loaded.generator.parameters():
            weights.fill_(float("nan"))
    with pytest.raises(IntegrityError, match="not finite"):
        list(generate_pictures(loaded, [make_pair(0)[0]], CPU))
    run.put("recipe.json", b"{}")
    with pytest.raises(IntegrityError, match=r"recipe\.json"):
        broken.load()
    # A checkpoint that a running training has deleted in the meantime is not a candidate.
    (own_store / run.key(record_name(checkpoint_name(2)))).write_text("{}")
    assert list_names(store) == ["aaaa/1"]
