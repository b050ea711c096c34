"""Which of a source's files are taken, and whether there are as many as there should be."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

import pathspec

from datasets.entry import Choice, DataSet
from datasets.sources import Source, SourceFile
from datasets.tables import plain_name
from errors import SourceError
from storage import Reason
from storage.manifest import Row

# What such a row was is no picture, or cannot be seen.
_UNREADABLE = (Reason.NOT_A_PICTURE, Reason.UNDECODABLE, Reason.LINK)


def select(
    dataset: DataSet,
    source: Source,
    names: frozenset[str] | None = None,
    allow_partial: bool = False,
) -> Iterator[SourceFile]:
    """Yield the files that are taken, in the source's order.

    Parameters
    ----------
    dataset : its patterns, and its choice among the files that fit them.
    source : all files.
    names : of the pictures that tables choose; None for all.
    allow_partial : choose from fewer files than expected.

    Raises
    ------
    SourceError
        If a choice is to be made from fewer files than expected: it would be another choice.
    """
    wanted = matcher(dataset.selection)
    chosen = None
    if dataset.choice is not None:
        # The names are read before the files: what is chosen depends on all of them.
        fit = [path for path in source.names() if wanted.match_file(path)]
        if dataset.expected is not None and len(fit) < dataset.expected and not allow_partial:
            raise incomplete(dataset, [f"{len(fit):,} of {dataset.expected:,} pictures"])
        chosen = choose(fit, dataset.choice)
    for file in source.files():
        if (
            wanted.match_file(file.path)
            and (names is None or plain_name(file.path) in names)
            and (chosen is None or file.path in chosen)
        ):
            yield file


def choose(paths: Iterable[str], choice: Choice) -> frozenset[str]:
    """Return as many of the paths as wanted: those with the lowest digests of seed and name.

    A path stands for its file's name alone, so that the same pictures are chosen from an archive,
    and from a folder that it was unpacked to; the whole path decides between equal names.
    """

    def rank(path: str) -> tuple[bytes, str]:
        name = PurePosixPath(path).name
        return hashlib.sha256(f"{choice.seed}:{name}".encode()).digest(), path

    return frozenset(sorted(paths, key=rank)[: choice.count])


def incomplete(dataset: DataSet, short: list[str]) -> SourceError:
    """Return the error that says which pictures are missing, and what to do."""
    where = dataset.archive or dataset.source.title
    return SourceError(
        f"{dataset.name}: {where} is not complete: {', '.join(short)}. Give a complete "
        "copy with --archive, or go on with what is there with --allow-partial."
    )


def matcher(patterns: tuple[str, ...]) -> pathspec.PathSpec[Any]:
    """Return what tells whether a path fits patterns as in a .gitignore file."""
    return pathspec.PathSpec.from_lines("gitignore", patterns)


def compare_counts(dataset: DataSet, rows: list[Row]) -> tuple[list[str], list[str]]:
    """Compare the pictures found with those expected, in all and in the parts.

    Returns
    -------
    (short, over)
        A sentence for each count that is lower than expected, and for each that is higher. Where
        tables choose pictures nothing is expected.
    """
    if dataset.where:
        return [], []
    if dataset.choice is not None:
        return _compare(rows, dataset.choice.count)
    short, over = ([], []) if dataset.expected is None else _compare(rows, dataset.expected)
    for pattern, count in dataset.expected_in.items():
        fits = matcher((pattern,))
        part = [row for row in rows if fits.match_file(row.source_path)]
        too_few, too_many = _compare(part, count, f" in {pattern}")
        short += too_few
        over += too_many
    return short, over


def _compare(rows: list[Row], expected: int, where: str = "") -> tuple[list[str], list[str]]:
    lost = Counter(row.reason for row in rows if row.reason in _UNREADABLE)
    found = len(rows) - sum(lost.values())
    sentence = f"{found:,} of {expected:,} pictures{where}"
    if lost:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in lost.items())
        sentence += f" (and {reasons})"
    return [sentence] if found < expected else [], [sentence] if found > expected else []
