"""Export of a checkpoint's generator to files for other programs."""

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
    """An exported generator in memory.

    Attributes
    ----------
    card : GeneratorCard
        Stored in both files.
    weights : bytes
        Safetensors; see ``load_generator``.
    network : bytes
        ONNX, with dynamic batch, height and width.
    max_abs_diff : float
        Largest difference between both files' pictures and the checkpoint's, in [-1, 1].
    """

    card: GeneratorCard
    weights: bytes
    network: bytes
    max_abs_diff: float


@dataclass(frozen=True)
class ExportedFiles:
    """An export and the paths it was written to.

    Attributes
    ----------
    export : ExportedGenerator
    weights, network : Path
    """

    export: ExportedGenerator
    weights: Path
    network: Path


def export_checkpoint(store: ObjectStore, dataset: str, run: str, epoch: int) -> ExportedGenerator:
    """Export a checkpoint's generator: the moving average if there is one.

    Parameters
    ----------
    store : ObjectStore
        Contains the run.
    dataset, run, epoch : str, str, int
        The checkpoint.

    Returns
    -------
    ExportedGenerator

    Raises
    ------
    NotFoundError
        If the checkpoint does not exist.
    IntegrityError
        If the checkpoint or the run's recipe is damaged, or the exported files generate other
        pictures.
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
    """Export a checkpoint's generator to a folder, which is created if necessary.

    The files are named ``<dataset>-<run>-<epoch>.safetensors`` and ``.onnx``. They are moved into
    place only after both are verified and completely written.

    Parameters
    ----------
    store, dataset, run, epoch
        See ``export_checkpoint``.
    folder : Path

    Returns
    -------
    ExportedFiles

    Raises
    ------
    StorageError
        If the files cannot be written.
    NotFoundError, IntegrityError
        See ``export_checkpoint``.
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
    """Write files under temporary names, then move all of them into place."""
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
