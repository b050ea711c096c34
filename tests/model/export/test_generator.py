import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from config.errors import CorruptObjectError, IntegrityError, NotFoundError, StorageError
from config.recipe import Recipe
from model.export.generator import ExportedFiles, export_checkpoint, save_generator
from model.export.serialization import (
    PARITY_TOLERANCE,
    check_parity,
    load_generator,
    read_card,
    to_safetensors,
)
from model.networks.generator import Generator
from model.training.checkpoint import restore_generator, restore_state, serialize_state
from model.training.train import train
from storage import LocalStore
from storage.pair_sets import CurrentPairs, swap_current
from storage.runs import Run
from tests.cli.test_app import run_icanvas
from tests.model.pairs import publish_test_pairs

SMALL = Recipe(
    batch=2, epochs=2, image_size=64, generator_width=4, generator_blocks=1, discriminator_width=4
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, str]:
    store = LocalStore(tmp_path_factory.mktemp("store"))
    publish_test_pairs(store, "tttv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.training.artifacts.render_loss_plot", lambda *_: b"")
        return store, train(store, "tiny", "pairs", SMALL).run


@pytest.fixture(scope="module")
def exported(
    trained: tuple[LocalStore, str], tmp_path_factory: pytest.TempPathFactory
) -> ExportedFiles:
    store, run = trained
    return save_generator(store, "tiny", run, 1, tmp_path_factory.mktemp("export") / "new")


def draw(shape: tuple[int, ...]) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(5)) > 0.1).float()


def test_both_files_equal_averaged_generator(
    trained: tuple[LocalStore, str], exported: ExportedFiles
) -> None:
    store, name = trained
    run = Run(store, "tiny", name)
    state = restore_state(
        run.read_checkpoint(run.list_checkpoints()[0]), SMALL, torch.device("cpu")
    )
    loaded, _ = load_generator(exported.weights)
    session = onnxruntime.InferenceSession(exported.network)
    for shape in ((1, 1, 64, 64), (3, 1, 96, 128)):
        drawing = draw(shape)
        with torch.no_grad():
            averaged, latest = state.eval_generator(drawing), state.generator(drawing)
            assert torch.equal(loaded(drawing), averaged)
        (onnx_picture,) = session.run(["picture"], {"condition": drawing.numpy()})
        assert np.abs(onnx_picture - averaged.numpy()).max() <= PARITY_TOLERANCE
        assert np.abs(onnx_picture - latest.numpy()).max() > PARITY_TOLERANCE


def test_card_describes_checkpoint(
    trained: tuple[LocalStore, str], exported: ExportedFiles
) -> None:
    store, name = trained
    card = exported.export.card
    assert load_generator(exported.weights)[1] == read_card(exported.network.read_bytes()) == card
    record = Run(store, "tiny", name).list_checkpoints()[0]
    assert (card.dataset, card.run, card.epoch, card.step) == ("tiny", name, 1, record.step)
    assert (card.pairs, card.checkpoint, card.average) == ("pairs", record.sha256, True)
    assert (card.image_size, card.generator_width, card.generator_blocks) == (64, 4, 1)
    assert 0.5 < card.extent <= 1
    assert card.trained_with["torch"] == torch.__version__
    assert card.exported_with["onnx"] == onnx.__version__
    assert exported.weights.name == f"tiny-{name}-0001.safetensors"


def test_onnx_has_dynamic_size_and_no_machine_paths(exported: ExportedFiles) -> None:
    network = onnx.load(exported.network)
    for value in (*network.graph.input, *network.graph.output):
        sizes = [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        assert sizes[:1] + sizes[2:] == ["batch", "height", "width"]
    data = exported.network.read_bytes()
    for path in (Path(__file__).parents[3], Path(torch.__file__).parent, Path.home()):
        assert os.fsencode(path) not in data
    for part in (b".py", b"stack_trace", b"namespace"):
        assert part not in data


@pytest.mark.slow
def test_command_gives_same_bytes(
    trained: tuple[LocalStore, str], exported: ExportedFiles, tmp_path: Path
) -> None:
    store, name = trained
    # Without a catalogue entry the data set is found by its pair set.
    swap_current(store, "tiny", CurrentPairs(fingerprint="pairs", source="/nowhere"), None)
    options = ["--checkpoint", f"{name}/1", "--store", store.url]
    process = run_icanvas("export-model", "tiny", str(tmp_path), *options)
    assert process.returncode == 0, process.stderr
    assert process.stderr.strip().splitlines() in ([], ["tiny: export"])
    for expected in (exported.weights, exported.network):
        assert (tmp_path / expected.name).read_bytes() == expected.read_bytes()
        assert str(tmp_path / expected.name) in process.stdout


def test_generator_is_exported_without_average(
    trained: tuple[LocalStore, str],
) -> None:
    store, name = trained
    run = Run(store, "tiny", name)
    data = run.read_checkpoint(run.list_checkpoints()[0])
    recipe = SMALL.model_copy(update={"ema": 0.0})
    state = restore_state(data, recipe, torch.device("cpu"))
    generator, averaged = restore_generator(serialize_state(state, recipe), recipe)
    assert not averaged
    for actual, expected in zip(generator.parameters(), state.generator.parameters(), strict=True):
        assert torch.equal(actual, expected)


def test_files_that_disagree_are_rejected(exported: ExportedFiles) -> None:
    export = exported.export
    generator, card = load_generator(export.weights)
    network = onnx.load_from_string(export.network)
    last = next(part for part in network.graph.initializer if list(part.dims) == [3])
    last.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(last) + 0.1, last.name))
    with pytest.raises(IntegrityError, match=r"ONNX file and the checkpoint generate different"):
        check_parity(generator, export.weights, network.SerializeToString())
    other = Generator(4, 1)
    with pytest.raises(
        IntegrityError, match=r"safetensors file and the checkpoint generate different"
    ):
        check_parity(generator, to_safetensors(other, card), export.network)
    with torch.no_grad():
        next(generator.parameters())[0] = torch.nan
    with pytest.raises(IntegrityError, match=r"differ by nan"):
        check_parity(generator, export.weights, export.network)


def test_other_files_are_rejected(exported: ExportedFiles, tmp_path: Path) -> None:
    data = exported.export.weights
    generator, card = load_generator(data)
    foreign = to_safetensors(generator, card).replace(b'"icanvas"', b'"another"')
    wide = card.model_copy(update={"generator_width": 8})
    half = to_safetensors(Generator(4, 1).half(), card)
    for wrong, message in (
        (b"", "cannot be loaded"),
        (data[:-7], "cannot be loaded"),
        (b"PK\x03\x04" + bytes(100), "cannot be loaded"),
        (foreign, "has no generator card"),
        (to_safetensors(generator, wide), "cannot be loaded"),
        (half, "not float32"),
    ):
        with pytest.raises(IntegrityError, match=message):
            load_generator(wrong)
    with pytest.raises(NotFoundError, match=r"none\.safetensors cannot be read"):
        load_generator(tmp_path / "none.safetensors")
    for wrong in (b"", b"no network", data):
        with pytest.raises(IntegrityError):
            read_card(wrong)


def test_failed_export_leaves_no_files(
    trained: tuple[LocalStore, str],
    exported: ExportedFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, name = trained
    with pytest.raises(NotFoundError, match=r"epoch-0009\.pt does not exist"):
        export_checkpoint(store, "tiny", name, 9)
    monkeypatch.setattr("model.export.generator.export_checkpoint", lambda *_: exported.export)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        save_generator(store, "tiny", name, 1, tmp_path / "file")
    # The second file cannot be moved into place.
    target = tmp_path / "place"
    (target / f"tiny-{name}-0001.onnx" / "full").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be written"):
        save_generator(store, "tiny", name, 1, target)
    assert not [path for path in target.iterdir() if path.name.startswith(".")]


def test_damaged_checkpoint_or_recipe_raises(
    trained: tuple[LocalStore, str],
) -> None:
    store, name = trained
    checkpoint = f"models/tiny/{name}/checkpoints/epoch-0002.pt"
    original = store.get(checkpoint)
    store.put(checkpoint, original[:-1])
    with pytest.raises(CorruptObjectError, match="SHA-256"):
        export_checkpoint(store, "tiny", name, 2)
    store.put(checkpoint, original)
    recipe = f"models/tiny/{name}/recipe.json"
    original = store.get(recipe)
    for content, message in ((b"{}", "is corrupt"), (None, "is missing")):
        store.delete(recipe) if content is None else store.put(recipe, content)
        with pytest.raises((IntegrityError, NotFoundError), match=message):
            export_checkpoint(store, "tiny", name, 2)
    store.put(recipe, original)
