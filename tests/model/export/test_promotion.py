import io
import json
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image

from config.errors import (
    ConflictError,
    CorruptObjectError,
    InputError,
    IntegrityError,
    NotFoundError,
)
from config.recipe import Recipe
from model.data.dataset import to_condition
from model.evaluation.votes import Vote, Votes
from model.export.generator import export_checkpoint
from model.export.promotion import MAX_EXAMPLES, promote_checkpoint, rollback
from model.export.serialization import load_generator
from model.training.checkpoint import restore_generator
from model.training.samples import to_image
from model.training.train import train
from storage import LocalStore, keys
from storage.promoted_files import read_example, read_onnx, read_weights
from storage.promotions import Promoted, read_promoted
from storage.runs import Run
from tests.model.pairs import publish_test_pairs

SMALL = Recipe(
    batch=4, epochs=3, image_size=64, generator_width=4, generator_blocks=1, discriminator_width=4
)

VOTES = Votes(
    format=1,
    dataset="tiny",
    comparison="0123456789ab",
    voter="",
    at=datetime(2026, 11, 28, tzinfo=UTC),
    votes=(Vote(sketch="a.png", chosen="run/2"),),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, str]:
    store = LocalStore(tmp_path_factory.mktemp("store"))
    publish_test_pairs(store, "ttttvvvvvvvv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.training.artifacts.render_loss_plot", lambda *_: b"")
        return store, train(store, "tiny", "pairs", SMALL).run


# An export takes seconds, and the tests need the same ones repeatedly.
export_once = cache(export_checkpoint)


@pytest.fixture
def run(trained: tuple[LocalStore, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the run, with no promotion in the store."""
    monkeypatch.setattr("model.export.promotion.export_checkpoint", export_once)
    store, run = trained
    for key in list(store.list_keys("models/tiny/promoted")):
        store.delete(key)
    store.delete(keys.promoted("tiny"))
    return run


@pytest.fixture
def store(trained: tuple[LocalStore, str]) -> LocalStore:
    return trained[0]


def promote(store: LocalStore, run: str, epoch: int, note: str = "") -> Promoted:
    return promote_checkpoint(store, "tiny", run, epoch, title="Tiny", note=note, author="me")


def test_promoted_generator_equals_checkpoint(store: LocalStore, run: str) -> None:
    promoted = promote(store, run, 2, note="sharper")
    assert read_promoted(store, "tiny") == promoted
    assert (promoted.title, promoted.note, promoted.by) == ("Tiny", "sharper", "me")
    assert promoted.checkpoint == f"{run}/2"
    generator, card = load_generator(read_weights(store, "tiny", promoted))
    record = Run(store, "tiny", run).get_record(2)
    assert card.checkpoint == promoted.sha256 == record.sha256
    expected, _ = restore_generator(Run(store, "tiny", run).read_checkpoint(record), SMALL)
    drawing = torch.ones(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(generator(drawing), expected(drawing))
    assert read_onnx(store, "tiny", promoted)


@pytest.mark.slow
def test_examples_are_validation_drawings(store: LocalStore, run: str) -> None:
    promoted = promote(store, run, 1)
    assert promoted.examples == MAX_EXAMPLES
    generator, _ = load_generator(read_weights(store, "tiny", promoted))
    for number in range(MAX_EXAMPLES):
        images = [
            np.asarray(Image.open(io.BytesIO(read_example(store, "tiny", promoted, number, part))))
            for part in ("drawing", "picture")
        ]
        assert (images[0].shape, images[1].shape) == ((256, 256), (64, 64, 3))
        small = np.asarray(Image.fromarray(images[0]).resize((64, 64), Image.Resampling.BOX))
        with torch.no_grad():
            again = to_image(generator(to_condition(small).unsqueeze(0))[0])
        assert np.abs(again.astype(int) - images[1]).mean() < 1


def test_promoting_again_changes_nothing(store: LocalStore, run: str) -> None:
    first = promote(store, run, 1)
    assert promote(store, run, 1) == first


def test_promoting_again_adds_votes_and_note(store: LocalStore, run: str) -> None:
    first = promote(store, run, 1)
    promote(store, run, 2)
    again = promote_checkpoint(store, "tiny", run, 2, title="Tiny", note="confirmed", votes=[VOTES])
    assert (again.note, again.epoch) == ("confirmed", 2)
    assert again.votes is not None
    assert json.loads(store.get(again.votes)) == [VOTES.model_dump(mode="json")]
    assert [old.export for old in again.previous] == [first.export]


def test_damaged_files_are_exported_again(store: LocalStore, run: str) -> None:
    first = promote(store, run, 1)
    store.put(f"{keys.export_folder('tiny', first.export)}/generator.onnx", b"cut")
    with pytest.raises(CorruptObjectError):
        read_onnx(store, "tiny", first)
    second = promote(store, run, 1)
    assert second.export == first.export
    assert read_onnx(store, "tiny", second)
    assert not second.previous, "a repaired promotion must not enter the history"


def test_rollback_restores_previous_and_undoes_itself(store: LocalStore, run: str) -> None:
    for epoch in (1, 2, 3):
        promote(store, run, epoch)
    restored = rollback(store, "tiny", note="worse on cats", author="you")
    assert (restored.epoch, restored.note, restored.by) == (2, "worse on cats", "you")
    assert rollback(store, "tiny").epoch == 3
    assert rollback(store, "tiny", target=f"{run}/1").epoch == 1
    served = read_promoted(store, "tiny")
    assert served is not None
    assert [old.epoch for old in served.previous] == [3, 2]


def test_rollback_works_without_checkpoint(
    store: LocalStore, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(store, run, 1)
    promote(store, run, 2)
    exists = store.exists
    monkeypatch.setattr(store, "exists", lambda key: "epoch-0001" not in key and exists(key))
    assert rollback(store, "tiny").epoch == 1


def test_rollback_without_earlier_promotion_raises(store: LocalStore, run: str) -> None:
    with pytest.raises(InputError, match="no earlier promotion"):
        rollback(store, "tiny")
    promote(store, run, 1)
    with pytest.raises(InputError, match="no earlier promotion"):
        rollback(store, "tiny")
    promote(store, run, 2)
    with pytest.raises(InputError, match=f"Earlier promotions: {run}/1"):
        rollback(store, "tiny", target=f"{run}/3")


def test_rollback_to_damaged_files_raises(store: LocalStore, run: str) -> None:
    first = promote(store, run, 1)
    second = promote(store, run, 2)
    key = f"{keys.export_folder('tiny', first.export)}/generator.safetensors"
    store.put(key, store.get(key)[:-1])
    with pytest.raises(CorruptObjectError):
        rollback(store, "tiny")
    assert read_promoted(store, "tiny") == second


@pytest.mark.parametrize("step", ["examples", "files", "pointer"])
def test_failed_promotion_keeps_previous_one(
    store: LocalStore, run: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    first = promote(store, run, 1)

    def raise_conflict(*_: object, **__: object) -> None:
        raise ConflictError("no")

    functions = {
        "examples": "_generate_examples",
        "files": "write_export",
        "pointer": "swap_promoted",
    }
    monkeypatch.setattr(f"model.export.promotion.{functions[step]}", raise_conflict)
    with pytest.raises(ConflictError):
        promote(store, run, 2)
    assert read_promoted(store, "tiny") == first


@pytest.mark.slow
def test_generator_with_nan_is_not_promoted(
    store: LocalStore, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = promote(store, run, 1)

    def restore_with_nan(data: bytes, recipe: Recipe) -> object:
        generator, averaged = restore_generator(data, recipe)
        for weights in generator.parameters():
            weights.data.fill_(float("nan"))
        return generator, averaged

    monkeypatch.setattr("model.export.generator.restore_generator", restore_with_nan)
    monkeypatch.setattr("model.export.promotion.export_checkpoint", export_checkpoint)
    with pytest.raises(IntegrityError, match="nan"):
        promote(store, run, 2)
    assert read_promoted(store, "tiny") == first


def test_missing_checkpoint_is_not_promoted(store: LocalStore, run: str) -> None:
    keys_before = list(store.list_keys("models/tiny"))
    with pytest.raises(NotFoundError, match="epoch-0009"):
        promote_checkpoint(store, "tiny", run, 9, title="Tiny", votes=[VOTES])
    assert read_promoted(store, "tiny") is None
    assert list(store.list_keys("models/tiny")) == keys_before


def test_deleted_pair_set_gives_no_examples(
    store: LocalStore, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = keys.manifest("tiny", "pairs")
    content = store.get(manifest)
    store.delete(manifest)
    try:
        assert promote(store, run, 1).examples == 0
    finally:
        store.put(manifest, content)
