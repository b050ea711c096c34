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
    return [found.name for found in list_candidates(store, "tiny", runs)]


def test_every_kept_checkpoint_is_found(store: LocalStore) -> None:
    save_test_run(store, "aaaa", 2)
    save_test_run(store, "bbbb", 1)
    assert list_names(store) == ["aaaa/1", "aaaa/2", "bbbb/1"]
    assert list_names(store, "bbbb") == ["bbbb/1"]
    assert not any(found.promoted for found in list_candidates(store, "tiny"))
    write_promotion(store, "aaaa", 1, "tiny")
    assert [found.promoted for found in list_candidates(store, "tiny")] == [True, False, False]
    assert list_names(store, "bbbb") == ["aaaa/1", "bbbb/1"], (
        "the one in production is not among them"
    )


def test_what_is_not_there_is_said(store: LocalStore) -> None:
    with pytest.raises(SourceError, match="no checkpoint to compare"):
        list_candidates(store, "tiny")
    save_test_run(store, "aaaa", 1)
    with pytest.raises(SourceError, match=r"no run cccc .* aaaa"):
        list_candidates(store, "tiny", ["cccc"])


def test_it_draws_with_the_average_as_it_is_served(store: LocalStore) -> None:
    run = save_test_run(store, "aaaa", 1)
    (found,) = list_candidates(store, "tiny")
    drawings = [make_pair(number)[0] for number in range(2)]
    made = list(generate_pictures(found.load(), drawings, CPU))
    assert [picture.shape for picture in made] == [(256, 256, 3)] * 2

    generator, averaged = restore_generator(run.read_checkpoint(run.get_record(1)), SMALL)
    assert averaged
    small = np.stack([scale_drawing(drawing, 64) for drawing in drawings])[:, np.newaxis]
    with torch.no_grad():
        expected = generator(torch.from_numpy(small / np.float32(255)))
    for picture, one in zip(made, expected, strict=True):
        shown = ((one.permute(1, 2, 0).numpy() + 1) * 127.5).round()
        middles = picture.reshape(64, 4, 64, 4, 3)[:, 1:3, :, 1:3].mean((1, 3))
        assert abs(middles - shown).mean() < 3


def test_the_one_in_production_needs_no_checkpoint(store: LocalStore) -> None:
    run = save_test_run(store, "aaaa", 2)
    drawing = make_pair(0)[0]
    first, _ = list_candidates(store, "tiny")
    (before,) = generate_pictures(first.load(), [drawing], CPU)
    promote_checkpoint(store, "tiny", "aaaa", 1, title="Tiny")
    run.put(checkpoint_name(1), b"damaged")
    (served,) = (one for one in list_candidates(store, "tiny") if one.promoted)
    run.invalidate(run.get_record(1))
    gone, other = list_candidates(store, "tiny")
    assert (gone.name, gone.promoted, other.name) == ("aaaa/1", True, "aaaa/2")
    for one in (served, gone):
        assert one.sha256 == first.sha256
        opened = one.load()
        assert (opened.image_size, opened.extent, opened.pairs) == (64, 0.8, "pairs")
        (picture,) = generate_pictures(opened, [drawing], CPU)
        assert (picture == before).all()


def test_a_checkpoint_that_cannot_be_used(store: LocalStore, own_store: Path) -> None:
    run = save_test_run(store, "aaaa", 2)
    damaged, broken = list_candidates(store, "tiny")
    run.put(checkpoint_name(1), b"something else")
    with pytest.raises(IntegrityError, match="SHA-256"):
        damaged.load()
    opened = broken.load()
    with torch.no_grad():
        for weights in opened.generator.parameters():
            weights.fill_(float("nan"))
    with pytest.raises(IntegrityError, match="not finite"):
        list(generate_pictures(opened, [make_pair(0)[0]], CPU))
    run.put("recipe.json", b"{}")
    with pytest.raises(IntegrityError, match=r"recipe\.json"):
        broken.load()
    # One that a run in training has dropped meanwhile is no candidate.
    (own_store / run.key(record_name(checkpoint_name(2)))).write_text("{}")
    assert list_names(store) == ["aaaa/1"]
