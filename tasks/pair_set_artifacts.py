"""What a finished pair set shows in the Prefect UI: figures, sheet, settings, where it lies."""

from collections.abc import Sequence

from reports.pair_set_diff import Comparison, Side
from reports.pair_set_report import flatten, inline_jpeg
from storage import ObjectStore
from tasks.artifacts import link, show
from tasks.pair_set_plan import PairPlan

# A picture in an artifact is part of the database: small.
_WIDTH = 900


def show_pairs(
    plan: PairPlan,
    counts: dict[str, int],
    rejected: dict[str, int],
    in_use: bool,
    store: ObjectStore,
    comparison: Comparison | None,
) -> None:
    """Create the artifact of a pair set, and of what it changed where there was one before.

    Parameters
    ----------
    plan : what was made.
    counts : pairs by split.
    rejected : files by reason.
    in_use : whether the pointer moved to it.
    store : holds its sheet.
    comparison : with the set that was in use before.
    """
    name, pairs = plan.dataset.name, sum(counts.values())
    figures = [("pictures in", pairs + sum(rejected.values())), ("pairs", pairs)]
    figures += [(f"pairs to {split}", count) for split, count in counts.items()]
    figures += [(f"rejected: {reason}", count) for reason, count in rejected.items()]
    facts = [
        ("pair set", f"`{plan.fingerprint}`, {'in use' if in_use else 'not in use'}"),
        ("report", link(store, f"{plan.folder}/report.html")),
        *((f"`{key}`", f"`{value}`") for key, value in flatten(plan.settings)),
    ]
    parts = [_table(("", "pictures"), [(what, f"{count:,}") for what, count in figures])]
    if pairs:
        parts.append(_picture("contact sheet", store.get(f"{plan.folder}/contact-sheet.jpg")))
    parts.append(_table(("", ""), facts))
    show(
        key=f"pairs-{name}",
        description=f"Pair set {plan.fingerprint} of {plan.dataset.title}",
        markdown="\n\n".join(parts),
    )
    if comparison is not None:
        _show_comparison(plan, comparison, store)


def _show_comparison(plan: PairPlan, comparison: Comparison, store: ObjectStore) -> None:
    old, new = comparison.old, comparison.new
    rows = [
        ("pair set", f"`{old.fingerprint}`", f"`{new.fingerprint}`"),
        ("pairs", f"{old.pairs:,}", f"{new.pairs:,}"),
        ("edge density, median", _share(old), _share(new)),
        *((f"`{name}`", f"`{a}`", f"`{b}`") for name, a, b in comparison.settings),
    ]
    parts = [_table(("", "old", "new"), rows)]
    if comparison.sheet is not None:
        parts += [
            "Old drawing, new drawing, picture:",
            _picture("old drawing, new drawing, picture", comparison.sheet),
        ]
    page = link(store, f"{plan.folder}/{comparison.key}")
    back = f"`icanvas use {plan.dataset.name} {old.fingerprint}`, or a run of `use` with it"
    parts += [f"Back to the old one: {back}.", f"The same as a page: {page}"]
    show(
        key=f"against-{plan.dataset.name}",
        description=f"{new.fingerprint} against {old.fingerprint}, which was in use",
        markdown="\n\n".join(parts),
    )


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '¦') for cell in line)} |" for line in lines)


def _picture(title: str, jpeg: bytes) -> str:
    return f"![{title}]({inline_jpeg(jpeg, width=_WIDTH)})"


def _share(side: Side) -> str:
    return "–" if side.median is None else f"{side.median:.2%}"
