"""Markdown artifacts in the Prefect UI, and links to objects in the store."""

from collections.abc import Sequence
from urllib.parse import quote

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from config.settings import get_settings
from reports.pair_set_diff import PairSetDiff, PairSetStats
from reports.pair_set_report import flatten_settings, inline_jpeg
from storage import ObjectStore
from tasks.pair_set_plan import PairSetPlan

# Pixels. Prefect stores artifacts in its database: keep images small.
_IMAGE_WIDTH = 900


def create_artifact(key: str, description: str, markdown: str) -> None:
    """Create a Markdown artifact of the current run.

    Errors are logged and not raised, because the work that the artifact describes has succeeded.

    Parameters
    ----------
    key : str
        Lowercase letters, digits and dashes. Prefect shows artifacts with the same key as versions.
    description : str
        One line of text.
    markdown : str
        Body of the artifact.
    """
    try:
        create_markdown_artifact(key=key, description=description, markdown=markdown)
    except Exception as error:
        get_run_logger().warning("Creating the artifact %r failed: %s", description, error)


def render_link(store: ObjectStore, key: str) -> str:
    """Return the location of an object as Markdown.

    Web pages cannot link to ``s3://`` URLs or local paths. The result is a link if the setting
    ``ICANVAS_STORE_WEB_URL`` is set, and otherwise the location as inline code.

    Parameters
    ----------
    store : ObjectStore
        Store that holds the object.
    key : str
        Key of the object.

    Returns
    -------
    str
        For example ``[report.html](https://files.example.org/datasets/…/report.html)``.
    """
    base = get_settings().store_web_url
    if base is None:
        return f"`{store.location(key)}`"
    return f"[{key.rpartition('/')[2]}]({base.rstrip('/')}/{quote(key)})"


def create_pair_set_artifact(
    plan: PairSetPlan,
    counts: dict[str, int],
    rejected: dict[str, int],
    in_use: bool,
    store: ObjectStore,
    diff: PairSetDiff | None,
) -> None:
    """Create the artifact of a pair set, and an artifact of the comparison with the previous one.

    Parameters
    ----------
    plan : PairSetPlan
        The pair set.
    counts : dict of str to int
        Number of pairs per split.
    rejected : dict of str to int
        Number of rejected files per reason.
    in_use : bool
        Whether ``current.json`` points at the pair set.
    store : ObjectStore
        Store that contains the contact sheet.
    diff : PairSetDiff or None
        Comparison with the pair set that was in use before this run; None to omit the artifact.
    """
    pairs = sum(counts.values())
    file_counts = [("source files", pairs + sum(rejected.values())), ("pairs", pairs)]
    file_counts += [(f"{split} pairs", count) for split, count in counts.items()]
    file_counts += [(f"rejected: {reason}", count) for reason, count in rejected.items()]
    details = [
        ("pair set", f"`{plan.fingerprint}`, {'in use' if in_use else 'not in use'}"),
        ("report", render_link(store, f"{plan.folder}/report.html")),
        *((f"`{key}`", f"`{value}`") for key, value in flatten_settings(plan.settings)),
    ]
    parts = [_render_table(("", "files"), [(name, f"{count:,}") for name, count in file_counts])]
    if pairs:
        parts.append(_render_image("contact sheet", store.get(f"{plan.folder}/contact-sheet.jpg")))
    parts.append(_render_table(("", ""), details))
    create_artifact(
        key=f"pairs-{plan.dataset.name}",
        description=f"Pair set {plan.fingerprint} of {plan.dataset.title}",
        markdown="\n\n".join(parts),
    )
    if diff is not None:
        _create_diff_artifact(plan, diff, store)


def _create_diff_artifact(plan: PairSetPlan, diff: PairSetDiff, store: ObjectStore) -> None:
    old, new = diff.old, diff.new
    rows = [
        ("pair set", f"`{old.fingerprint}`", f"`{new.fingerprint}`"),
        ("pairs", f"{old.pairs:,}", f"{new.pairs:,}"),
        ("edge density, median", _format_density(old), _format_density(new)),
        *((f"`{name}`", f"`{a}`", f"`{b}`") for name, a, b in diff.settings),
    ]
    parts = [_render_table(("", "old", "new"), rows)]
    if diff.sheet is not None:
        parts += [
            "Old drawing, new drawing, picture:",
            _render_image("old drawing, new drawing, picture", diff.sheet),
        ]
    page = render_link(store, f"{plan.folder}/{diff.file_name}")
    command = f"`icanvas use {plan.dataset.name} {old.fingerprint}`, or a run of `use`"
    parts += [f"To switch back: {command}.", f"As a page: {page}"]
    create_artifact(
        key=f"against-{plan.dataset.name}",
        description=f"Pair set {new.fingerprint} compared with the previous {old.fingerprint}",
        markdown="\n\n".join(parts),
    )


def _render_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '¦') for cell in line)} |" for line in lines)


def _render_image(title: str, jpeg: bytes) -> str:
    return f"![{title}]({inline_jpeg(jpeg, width=_IMAGE_WIDTH)})"


def _format_density(stats: PairSetStats) -> str:
    return "–" if stats.median is None else f"{stats.median:.2%}"
