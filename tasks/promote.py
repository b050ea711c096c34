"""The tasks that promote a checkpoint and roll back a promotion."""

import io
from collections.abc import Sequence
from typing import Literal

from PIL import Image
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from config.errors import NotFoundError
from model.evaluation.votes import Votes
from model.export import promotion
from reports.pair_set_report import inline_jpeg
from storage import ObjectStore, keys, open_store
from storage.checkpoint_selection import resolve_checkpoint
from storage.promoted_files import read_example
from storage.promotions import Promoted
from storage.runs import list_checkpoints
from tasks.artifacts import create_artifact, render_link

# Pixels. Prefect stores artifacts in its database: keep images small.
_EXAMPLE_WIDTH = 192


@task(task_run_name="promote {dataset} {checkpoint}", cache_policy=NO_CACHE)
def promote(
    dataset: str,
    title: str,
    checkpoint: str,
    store_url: str,
    note: str = "",
    author: str = "",
    votes: Sequence[Votes] = (),
) -> Promoted:
    """Promote a checkpoint; see ``model.export.promotion.promote_checkpoint``.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    title : str
        Display name of the data set.
    checkpoint : str
        Name of the checkpoint: ``RUN/EPOCH``, or ``last``.
    store_url : str
        URL of the store.
    note : str, optional
        Reason for the promotion. Stored in ``promoted.json``.
    author : str, optional
        Name of the person who promotes the checkpoint. Stored in ``promoted.json``.
    votes : sequence of Votes, optional
        Votes of the comparison. Stored with the promotion.

    Returns
    -------
    Promoted
        Content of ``promoted.json``.

    Raises
    ------
    NotFoundError
        If the checkpoint does not exist.
    IntegrityError
        If the checkpoint is corrupt, or the exported files do not generate the same pictures.
    ConflictError
        If another promotion runs at the same time, or `icanvas gc` deletes the checkpoint.
    """
    store = open_store(store_url)
    checkpoints = list_checkpoints(store, dataset)
    if not checkpoints:
        raise NotFoundError(f"{dataset} has no checkpoint. Train a generator first.")
    run, epoch = resolve_checkpoint(checkpoint, checkpoints)
    promoted = promotion.promote_checkpoint(
        store, dataset, run, epoch, title=title, note=note, author=author, votes=votes
    )
    _log_promoted(store, dataset, promoted)
    return promoted


@task(task_run_name="roll back {dataset}", cache_policy=NO_CACHE)
def rollback(
    dataset: str, store_url: str, note: str = "", author: str = "", target: str | None = None
) -> Promoted:
    """Serve an earlier checkpoint again; see ``model.export.promotion.rollback``.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    store_url : str
        URL of the store.
    note : str, optional
        Reason for the rollback. Stored in ``promoted.json``.
    author : str, optional
        Name of the person who rolls back. Stored in ``promoted.json``.
    target : str or None, optional
        ``RUN/EPOCH`` of an earlier promotion; None for the previous one.

    Returns
    -------
    Promoted
        Content of ``promoted.json``.

    Raises
    ------
    InputError
        If `target` was never promoted, or no earlier promotion exists.
    IntegrityError
        If the files of the earlier promotion are corrupt.
    NotFoundError
        If files of the earlier promotion are missing.
    ConflictError
        If another promotion runs at the same time.
    """
    store = open_store(store_url)
    promoted = promotion.rollback(store, dataset, target=target, note=note, author=author)
    _log_promoted(store, dataset, promoted)
    return promoted


def _log_promoted(store: ObjectStore, dataset: str, promoted: Promoted) -> None:
    """Log the promoted checkpoint and create its artifact.

    Errors are logged and not raised: the pointer is already changed, and a retry of a rollback
    would undo it.
    """
    logger = get_run_logger()
    logger.info("%s: %s is in service", dataset, promoted.checkpoint)
    try:
        _create_promoted_artifact(store, dataset, promoted)
    except Exception as error:
        logger.warning("%s: creating the artifact of the promotion failed: %s", dataset, error)


def _create_promoted_artifact(store: ObjectStore, dataset: str, promoted: Promoted) -> None:
    header = ("", "checkpoint", "since", "by", "note")
    rows: list[tuple[str, ...]] = [header, ("---",) * len(header)]
    for number, entry in enumerate((promoted, *promoted.previous)):
        texts = (entry.by, entry.note)
        rows.append(
            (
                "" if number else "in service",
                f"`{entry.checkpoint}`",
                f"{entry.at:%Y-%m-%d %H:%M}",
                *(" ".join(words.replace("|", "¦").split()) for words in texts),
            )
        )
    lines = [f"| {' | '.join(row)} |" for row in rows]
    for number in range(promoted.examples):
        parts: list[Literal["drawing", "picture"]] = ["drawing", "picture"]
        pair = [
            inline_jpeg(
                _convert_to_jpeg(read_example(store, dataset, promoted, number, part)),
                _EXAMPLE_WIDTH,
            )
            for part in parts
        ]
        lines += ["", f"![drawing]({pair[0]}) ![generated picture]({pair[1]})"]
    card_link = render_link(store, keys.export_card(dataset, promoted.export))
    lines += [
        "",
        f"Model card: {card_link}",
        "",
        f"To undo: `icanvas rollback {dataset}`, or a run of `rollback`.",
    ]
    create_artifact(
        key=f"promoted-{dataset}",
        description=f"Checkpoint in service for {promoted.title}",
        markdown="\n".join(lines),
    )


def _convert_to_jpeg(png: bytes) -> bytes:
    jpeg = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(jpeg, "JPEG", quality=92)
    return jpeg.getvalue()
