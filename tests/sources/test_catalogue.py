from pathlib import Path

import pytest

from config.errors import InputError, SourceError
from config.recipe import make_recipe
from config.settings import get_settings
from sources import PrepareOptions, find_dataset, load_catalogue, make_options

VALID_ENTRY = """
name = "mine"
title = "My pictures"
[source]
kind = "local"
path = "pictures"
"""


def test_built_in_entries_are_valid() -> None:
    catalogue = load_catalogue()
    assert "demo" in catalogue
    for entry in catalogue.values():
        make_recipe(entry.recipe.model_dump(exclude_unset=True), {})


def test_demo_files_match_its_index() -> None:
    demo = load_catalogue()["demo"]
    folder = Path(demo.source.title)
    color = {path.name for path in folder.glob("*.png")}
    line = {path.name for path in (folder.parent / "line").glob("*.png")}
    index = (folder.parent / "index.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(color) == demo.expected == 64
    assert color == line == {f"{row.split(',')[0]}.png" for row in index}
    assert (folder.parent / "LICENSE-CC-BY-SA-4.0.txt").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("colour = 1", "colour: unknown key"),
        ("[geometry]\nmode = 'squash'", "geometry.mode: .*'squash'"),
        ("[geometry]\nbackground = 'white'", "geometry.background: .*'white'"),
        ("[edges]\nthreshold = 25", "edges.threshold: .*25"),
        ("[edges]\nborder = -1", "edges.border: .*-1"),
        ("[edges]\nmin_pixles = 3", "edges.min_pixles: unknown key"),
        ("[recipe]\nbatch = 0", "recipe.batch: .*0"),
        ("[recipe]\nlambda = 1", "recipe.lambda: unknown key"),
        ("[recipe]\nimage_size = 130", "recipe.image_size: .*130"),
        ("selection = ['!']", "selection: .*!"),
        ("val_share = 0.9", "val_share: .*0.9"),
        ("expected = 'many'", "expected: .*'many'"),
        ("= broken", "not valid TOML"),
    ],
)
def test_invalid_entry_is_reported_with_file_and_key(
    tmp_path: Path, change: str, message: str
) -> None:
    head, table = VALID_ENTRY.split("[source]")
    body = (
        f"{head}\n[source]{table}\n{change}"
        if change[0] == "["
        else f"{head}{change}\n[source]{table}"
    )
    (tmp_path / "mine.toml").write_text(body)
    with pytest.raises(InputError, match=rf"mine\.toml: {message}"):
        load_catalogue(tmp_path)


def test_missing_key_and_wrong_name_are_reported(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(VALID_ENTRY.replace('title = "My pictures"', ""))
    with pytest.raises(InputError, match=r"mine\.toml: title: missing"):
        load_catalogue(tmp_path)
    (tmp_path / "mine.toml").rename(tmp_path / "other.toml")
    (tmp_path / "other.toml").write_text(VALID_ENTRY)
    with pytest.raises(InputError, match=r"other\.toml: name: 'mine'"):
        load_catalogue(tmp_path)


def test_entries_of_the_user_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head, table = VALID_ENTRY.split("[source]")
    (tmp_path / "mine.toml").write_text(f"{head}sketches = 'my sketches.zip'\n[source]{table}")
    monkeypatch.setenv("ICANVAS_CATALOGUE", str(tmp_path))
    get_settings.cache_clear()
    assert find_dataset("mine").source.title == str(tmp_path / "pictures")
    assert find_dataset("mine").sketches == str(tmp_path / "my sketches.zip")
    assert find_dataset("demo").name == "demo"
    (tmp_path / "demo.toml").write_text(VALID_ENTRY.replace("mine", "demo"))
    with pytest.raises(InputError, match="already"):
        load_catalogue()
    monkeypatch.setenv("ICANVAS_CATALOGUE", str(tmp_path / "no"))
    get_settings.cache_clear()
    with pytest.raises(InputError, match="ICANVAS_CATALOGUE"):
        load_catalogue()


@pytest.mark.parametrize(
    ("file", "name"),
    [("My Photos 2024", "my-photos-2024"), ("pets.tar.gz", "pets"), ("Käfer!.zip", "k-fer")],
)
def test_name_is_derived_from_a_path(tmp_path: Path, file: str, name: str) -> None:
    (tmp_path / file).mkdir()
    dataset = find_dataset(str(tmp_path / file))
    assert dataset.name == name
    assert dataset.source.title == str(tmp_path / file)


def test_entry_sets_only_the_recipe_fields_that_it_names() -> None:
    """The recipe's defaults apply to the others."""
    assert find_dataset("panda").recipe.model_dump(exclude_unset=True) == {
        "batch": 1,
        "epochs": 180,
    }


def test_invalid_names_and_paths_are_reported(tmp_path: Path) -> None:
    for name in ("dmeo", "", "x" * 5000):
        with pytest.raises(SourceError, match=f"'{name}' is neither"):
            find_dataset(name)
    (tmp_path / "demo").mkdir()
    with pytest.raises(InputError, match="--name"):
        find_dataset(str(tmp_path / "demo"))
    (tmp_path / "한글").mkdir()
    with pytest.raises(InputError, match="--name"):
        find_dataset(str(tmp_path / "한글"))
    assert find_dataset(str(tmp_path / "한글"), PrepareOptions(name="hangul")).name == "hangul"
    with pytest.raises(InputError, match="Bad Name"):
        find_dataset(str(tmp_path), PrepareOptions(name="Bad Name"))
    with pytest.raises(InputError, match="catalogue"):
        find_dataset("demo", PrepareOptions(name="other"))


def test_options_override_the_entry() -> None:
    changed = find_dataset("demo", PrepareOptions(fit="cover", threshold=0.25))
    assert (changed.geometry.mode, changed.edges.threshold) == ("cover", 0.25)
    assert changed.geometry.background == find_dataset("demo").geometry.background
    with pytest.raises(InputError, match="fit"):
        make_options(fit="squash")
    with pytest.raises(InputError, match="threshold"):
        make_options(threshold=25)


def test_built_in_entries_have_the_documented_facts() -> None:
    """Counts and recipes are those of the data sets' authors and of the project's design."""
    catalogue = load_catalogue()
    expected = {
        "cartoon": (9_996, 4, 28),
        "panda": (300, 1, 180),
        "car": (11_476, 4, 19),
        "handbags": (138_567, 4, 5),
        "shoes": (49_825, 4, 25),
        "maplestory": (69_372, 4, 14),
        "gemstone": (3_219, 4, 36),
        "space": (4_649, 4, 40),
    }
    for name, (pictures, batch, epochs) in expected.items():
        entry = catalogue[name]
        assert entry.num_files == pictures, name
        assert (entry.recipe.batch, entry.recipe.epochs) == (batch, epochs), name
        if entry.expected is not None and entry.expected_in:
            assert sum(entry.expected_in.values()) == entry.expected, name
        assert entry.homepage is not None
        assert entry.restricted == (name != "cartoon"), "only one has an open license"
        assert entry.paired == (name in ("handbags", "shoes")), name
    assert set(catalogue) == {*expected, "demo"}


def test_local_copy_keeps_the_source(tmp_path: Path) -> None:
    copy = tmp_path / "pandas.zip"
    copy.touch()
    dataset = find_dataset("panda", PrepareOptions(archive=str(copy)))
    assert (dataset.archive, dataset.name) == (str(copy), "panda")
    assert dataset.origin == find_dataset("panda").origin, "the source stays the same"
    with pytest.raises(SourceError, match="does not exist"):
        find_dataset("panda", PrepareOptions(archive=str(tmp_path / "nothing")))
    with pytest.raises(InputError, match="--archive"):
        find_dataset(str(tmp_path), PrepareOptions(archive=str(copy)))


def test_options_that_do_not_apply_are_reported() -> None:
    with pytest.raises(InputError, match="no tables"):
        find_dataset("panda", PrepareOptions(where={"quality": ("P",)}))
    with pytest.raises(InputError, match="no published pairs"):
        find_dataset("panda", PrepareOptions(re_extract=True))
    with pytest.raises(InputError, match=r"--where colour: unknown column.*body_type"):
        find_dataset("car", PrepareOptions(where={"colour": ("red",)}))
    with pytest.raises(InputError, match="--tables needs --where"):
        find_dataset("car", PrepareOptions(tables="/"))
    spellings = [
        PrepareOptions(where={"quality": values}) for values in (("P", "n"), ("N", "p", "P"))
    ]
    assert find_dataset("car", spellings[0]) == find_dataset("car", spellings[1]), (
        "equal selections are one data set"
    )
    assert find_dataset("shoes", PrepareOptions(re_extract=True)).needs_edges
    assert not find_dataset("shoes").needs_edges
    assert find_dataset("cartoon", PrepareOptions(everything=True)).num_files == 100_000


def test_invalid_source_is_reported(tmp_path: Path) -> None:
    for source, message in {
        'kind = "ftp"': "source: ",
        'kind = "kaggle"\nhandle = "no-owner"': "source.kaggle.handle",
        'kind = "http"\nurls = ["https://user:word@host/x.zip"]': "source.http.urls.0",
        'kind = "http"\nurls = ["https://host/x.zip?token=1"]': "source.http.urls.0",
    }.items():
        text = f'name = "mine"\ntitle = "Mine"\n[source]\n{source}\n'
        (tmp_path / "mine.toml").write_text(text)
        with pytest.raises(InputError, match=rf"mine\.toml: {message}"):
            load_catalogue(tmp_path)
