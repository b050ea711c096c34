from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.dataset import DatasetConfig, RandomSubset
from sources import find_dataset
from sources.archives import SourceFile
from sources.selection import compare_candidates, compare_counts, draw_random_subset, select_files
from storage import RejectReason
from storage.manifest import ManifestRow


@dataclass(frozen=True)
class Paths:
    """A source of empty files."""

    paths: tuple[str, ...]

    def identity(self, progress: object) -> str:
        return "x"

    def names(self) -> Iterator[str]:
        yield from self.paths

    def files(self) -> Iterator[SourceFile]:
        for path in self.paths:
            yield SourceFile(path, 0, bytes)


def dataset_of(tmp_path: Path, **changes: object) -> DatasetConfig:
    return find_dataset(str(tmp_path)).model_copy(update=changes)


def taken(dataset: DatasetConfig, *paths: str, names: frozenset[str] | None = None) -> list[str]:
    source = Paths(paths)
    wanted = select_files(dataset, source, names)
    return [file.path for file in source.files() if wanted.matches(file.path)]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "panda",
            ["PandasBears/Train/Pandas/a.jpeg", "PandasBears/Test/Pandas/a.jpeg", "Pandas/b.jpg"],
            ["PandasBears/Train/Bears/a.jpeg", "notes.txt"],
        ),
        (
            "car",
            ["resized_DVM/BMW/5 Series/2019/Red/x.jpg", "BMW/7 Series/1995/Blue/y.jpg"],
            ["resized_DVM/BMW/5 Series Gran Turismo/2019/Red/x.jpg", "resized_DVM/Audi/A4/x.jpg"],
        ),
        ("cartoon", ["cartoonset100k/0/cs1.png", "cs2.png"], ["cartoonset100k/0/cs1.csv"]),
        (
            "shoes",
            ["edges2shoes/train/1_AB.jpg", "edges2shoes/val/1_AB.jpg", "train/7_AB.jpg"],
            ["edges2shoes/test/1_AB.jpg", "edges2shoes/train/notes.txt"],
        ),
        ("handbags", ["edges2handbags/train/9_AB.jpg", "val/1_AB.jpg"], ["edges2handbags/x.txt"]),
        ("maplestory", ["a/1.PNG", "2.webp"], []),
        ("space", ["deep/field.JPG", "m31.tif"], []),
        ("gemstone", ["train/Aventurine Green/a.jpg", "test/Ruby/a.jpg"], ["readme.md"]),
    ],
)
def test_each_set_takes_its_pictures(name: str, good: list[str], bad: list[str]) -> None:
    dataset = find_dataset(name).model_copy(update={"choice": None})
    assert taken(dataset, *good, *bad) == good


def test_a_choice_depends_on_names_alone(tmp_path: Path) -> None:
    names = [f"cs{number}.png" for number in range(100)]
    choice = RandomSubset(count=10, seed=0)
    chosen = draw_random_subset(names, choice)
    assert len(chosen) == 10
    assert draw_random_subset(reversed(names), choice) == chosen
    elsewhere = draw_random_subset((f"deep/{name}" for name in names), choice)
    assert elsewhere == {f"deep/{name}" for name in chosen}
    assert draw_random_subset(names, RandomSubset(count=10, seed=1)) != chosen


def test_the_documented_choice_stays() -> None:
    """A published seed must give the same pictures for ever."""
    chosen = draw_random_subset(
        (f"cs{number}.png" for number in range(10)), RandomSubset(count=3, seed=0)
    )
    assert sorted(chosen) == KNOWN


KNOWN = ["cs2.png", "cs6.png", "cs7.png"]


@given(st.sets(st.text(min_size=1), max_size=30), st.integers(1, 40), st.integers(0, 9))
def test_a_choice_has_the_count_or_all(paths: set[str], count: int, seed: int) -> None:
    chosen = draw_random_subset(paths, RandomSubset(count=count, seed=seed))
    assert chosen <= paths
    assert len(chosen) == min(count, len(paths))


def test_the_chosen_come_in_the_sources_order(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, choice=RandomSubset(count=3, seed=0), selection=("*.png",))
    paths = [f"{number}.png" for number in (9, 1, 5, 3, 7)] + ["1.csv"]
    some = taken(dataset, *paths)
    assert len(some) == 3
    assert some == [path for path in paths if path in some]


def test_a_choice_from_another_number_is_another_choice(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, choice=RandomSubset(count=2, seed=0), expected=3)
    for paths, told in (("ab", (["2 of 3"], [])), ("abc", ([], [])), ("abcd", ([], ["4 of 3"]))):
        candidates = select_files(dataset, Paths(tuple(paths))).num_candidates
        assert candidates == len(paths)
        short, over = compare_candidates(dataset, candidates)
        assert ([text[:6] for text in short], [text[:6] for text in over]) == told
        assert compare_counts(dataset, rows("a", "b"), candidates) == (short, over)


def test_tables_choose_before_the_choice(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, choice=RandomSubset(count=2, seed=0))
    paths = [f"{number}.jpg" for number in range(9)]
    assert taken(dataset, *paths, names=frozenset({"3.jpg", "7.jpg"})) == ["3.jpg", "7.jpg"]


def test_tables_choose_by_the_files_name(tmp_path: Path) -> None:
    names = frozenset({"Vauxhall$$Dont$$1.jpg"})
    paths = ("x/Vauxhall$$Don't$$1.jpg", "x/Vauxhall$$Dont$$2.jpg")
    assert taken(dataset_of(tmp_path), *paths, names=names) == [paths[0]]


def rows(*paths: str, reason: RejectReason | None = None) -> list[ManifestRow]:
    made = [ManifestRow(id=path, source_path=path, shard=0) for path in paths]
    for row in made:
        if reason is not None:
            row.reject(reason, "")
    return made


def test_counts_are_compared_in_all_and_in_the_parts(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, expected=3, expected_in={"**/train/*": 2, "**/val/*": 1})
    whole = rows("a/train/1", "a/train/2", "a/val/1")
    assert compare_counts(dataset, whole, None) == ([], [])
    short, over = compare_counts(dataset, [*rows("a/train/1", "a/val/1", "a/val/2")], None)
    assert short == ["1 of 2 pictures in **/train/*"]
    assert over == ["2 of 1 pictures in **/val/*"]


def test_what_is_unreadable_counts_as_missing_and_is_named(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, expected=3)
    found = rows("1", "2") + rows("3", reason=RejectReason.UNDECODABLE)
    assert compare_counts(dataset, found, None)[0] == ["2 of 3 pictures (and 1 undecodable)"]
    twins = rows("1", "2") + rows("3", reason=RejectReason.DUPLICATE)
    assert compare_counts(dataset, twins, None) == ([], []), "a twin is a picture all the same"


def test_tables_leave_nothing_to_expect(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, expected=3, where={"quality": ("P",)})
    assert compare_counts(dataset, rows("1"), None) == ([], [])
