"""The tasks that change what is served, and show it."""

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
from storage.checkpoint_names import choose_checkpoint
from storage.promoted_files import read_example
from storage.promotions import Promoted
from storage.runs import list_checkpoints
from tasks.artifacts import link, show

# A picture in an artifact is part of the database: small.
_WIDTH = 192


@task(task_run_name="promote {dataset} {checkpoint}", cache_policy=NO_CACHE)
def promote(
    dataset: str,
    title: str,
    checkpoint: str,
    store_url: str,
    note: str = "",
    by: str = "",
    votes: Sequence[Votes] = (),
) -> Promoted:
    """Put a checkpoint into service; see ``model.export.promotion.promote``."""
    store = open_store(store_url)
    there = list_checkpoints(store, dataset)
    if not there:
        raise NotFoundError(f"{dataset} has no checkpoint. Start `train` for it.")
    run, epoch = choose_checkpoint(checkpoint, there)
    chosen = promotion.promote(
        store, dataset, run, epoch, title=title, note=note, by=by, votes=votes
    )
    _tell(store, dataset, chosen)
    return chosen


@task(task_run_name="roll back {dataset}", cache_policy=NO_CACHE)
def roll_back(
    dataset: str, store_url: str, note: str = "", by: str = "", to: str | None = None
) -> Promoted:
    """Put back into service what was before; see ``model.export.promotion.roll_back``."""
    store = open_store(store_url)
    chosen = promotion.roll_back(store, dataset, to=to, note=note, by=by)
    _tell(store, dataset, chosen)
    return chosen


def _tell(store: ObjectStore, dataset: str, promoted: Promoted) -> None:
    """Log what is served, and create its artifact.

    The pointer has moved: what goes wrong here fails no run, for a second one would roll back the
    roll-back.
    """
    logger = get_run_logger()
    logger.info("%s: %s is in service", dataset, promoted.checkpoint)
    try:
        _show(store, dataset, promoted)
    except Exception as error:
        logger.warning("%s: what is in service is not shown: %s", dataset, error)


def _show(store: ObjectStore, dataset: str, promoted: Promoted) -> None:
    heads = ("", "checkpoint", "since", "by", "note")
    rows: list[tuple[str, ...]] = [heads, ("---",) * len(heads)]
    for number, one in enumerate((promoted, *promoted.previous)):
        said = (one.by, one.note)
        rows.append(
            (
                "" if number else "in service",
                f"`{one.checkpoint}`",
                f"{one.at:%Y-%m-%d %H:%M}",
                *(" ".join(words.replace("|", "¦").split()) for words in said),
            )
        )
    lines = [f"| {' | '.join(row)} |" for row in rows]
    for number in range(promoted.examples):
        parts: list[Literal["drawing", "picture"]] = ["drawing", "picture"]
        pair = [
            inline_jpeg(_as_jpeg(read_example(store, dataset, promoted, number, part)), _WIDTH)
            for part in parts
        ]
        lines += ["", f"![a drawing]({pair[0]}) ![what is made of it]({pair[1]})"]
    place = link(store, keys.export_card(dataset, promoted.export))
    lines += [
        "",
        f"What is known of it: {place}",
        "",
        f"Back: `icanvas rollback {dataset}`, or a run of it.",
    ]
    show(
        key=f"promoted-{dataset}",
        description=f"What is served of {promoted.title}",
        markdown="\n".join(lines),
    )


def _as_jpeg(png: bytes) -> bytes:
    jpeg = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(jpeg, "JPEG", quality=92)
    return jpeg.getvalue()
