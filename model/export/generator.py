"""A checkpoint's generator, alone, as files that other programs load."""

import uuid
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from config.errors import StorageError
from model.export.card import GeneratorCard
from model.export.serialization import check_parity, to_onnx, to_safetensors
from model.training.checkpoint import restore_generator
from model.training.resume import read_metadata
from storage import ObjectStore
from storage.local import fsync
from storage.runs import Run

_EXPORT_PACKAGES = ("torch", "onnx", "onnxscript", "safetensors")


@dataclass(frozen=True)
class ExportedGenerator:
    """A generator as bytes.

    Attributes
    ----------
    card : what is known of it; both files hold it.
    weights : safetensors; see ``load_generator``.
    network : ONNX, with free batch, height and width.
    apart : how far the two differ at most, of values in [-1, 1].
    """

    card: GeneratorCard
    weights: bytes
    network: bytes
    max_abs_diff: float


@dataclass(frozen=True)
class ExportedFiles:
    """Where an export is.

    Attributes
    ----------
    export : what was written.
    weights, network : paths.
    """

    export: ExportedGenerator
    weights: Path
    network: Path


def export_checkpoint(store: ObjectStore, dataset: str, run: str, epoch: int) -> ExportedGenerator:
    """Return a checkpoint's generator as files: the moving average where there is one.

    Parameters
    ----------
    store : holds the run.
    dataset, run, epoch : which checkpoint.

    Raises
    ------
    NotFoundError
        If there is no such checkpoint.
    IntegrityError
        If it or its run's recipe is damaged, or the files do not give the same pictures.
    """
    source_run = Run(store, dataset, run)
    record = source_run.get_record(epoch)
    metadata = read_metadata(store, source_run)
    generator, averaged = restore_generator(source_run.read_checkpoint(record), metadata.recipe)
    card = GeneratorCard(
        dataset=dataset,
        run=run,
        epoch=record.epoch,
        step=record.step,
        checkpoint=record.sha256,
        pairs=metadata.pairs,
        average=averaged,
        image_size=metadata.recipe.image_size,
        extent=metadata.extent,
        generator_width=metadata.recipe.generator_width,
        generator_blocks=metadata.recipe.generator_blocks,
        trained_with=metadata.versions,
        exported_with={name: version(name) for name in _EXPORT_PACKAGES},
        revision=metadata.revision,
    )
    weights, network = to_safetensors(generator, card), to_onnx(generator, card)
    return ExportedGenerator(card, weights, network, check_parity(generator, weights, network))


def save_generator(
    store: ObjectStore, dataset: str, run: str, epoch: int, folder: Path
) -> ExportedFiles:
    """Write a checkpoint's generator into a folder, which is made if need be.

    The files are called ``<dataset>-<run>-<epoch>`` with ``.safetensors`` and ``.onnx``. Each is
    written whole or not at all, and neither before both were checked; see ``make_export`` for
    what is raised beside this.

    Raises
    ------
    StorageError
        If they cannot be written.
    """
    export = export_checkpoint(store, dataset, run, epoch)
    stem = f"{dataset}-{run}-{epoch:04d}"
    files = {
        folder / f"{stem}.safetensors": export.weights,
        folder / f"{stem}.onnx": export.network,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_files(files)
    except OSError as error:
        raise StorageError(
            f"The export cannot be written to {folder}: {error.strerror}. Check space and "
            "permissions, or name another folder."
        ) from error
    return ExportedFiles(export, *files)


def _write_files(files: dict[Path, bytes]) -> None:
    """Put files in place when all of them are written."""
    unfinished = {path: path.with_name(f".{uuid.uuid4().hex}") for path in files}
    try:
        for path, temporary in unfinished.items():
            temporary.write_bytes(files[path])
            fsync(temporary)
        for path, temporary in unfinished.items():
            temporary.replace(path)
            fsync(path.parent)
    finally:
        for temporary in unfinished.values():
            temporary.unlink(missing_ok=True)
