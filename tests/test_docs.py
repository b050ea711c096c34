"""What the documentation names exists: modules, functions, settings, options, pages."""

import importlib
import re
from pathlib import Path

import pytest

from config.dataset import DatasetConfig
from config.recipe import Recipe
from config.settings import Settings
from serving.settings import ServeSettings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
# The changelog names what is gone.
CURRENT_PAGES = [page for page in PAGES if page.name != "CHANGELOG.md"]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
NAMES = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)+)`")
SETTINGS = {f"ICANVAS_{name.upper()}" for name in Settings.model_fields}
SERVE_SETTINGS = {f"ICANVAS_SERVE_{name.upper()}" for name in ServeSettings.model_fields}


def resolve(name: str) -> object:
    """Import a dotted name: a module, or an attribute of one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[end:]:
            found = getattr(found, attribute)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("page", CURRENT_PAGES, ids=lambda page: page.name)
def test_dotted_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = {name for name in NAMES.findall(text) if not name.endswith((".py", ".md", ".toml"))}
    missing = []
    for name in sorted(names):
        try:
            resolve(name)
        except (ModuleNotFoundError, AttributeError):
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", CURRENT_PAGES, ids=lambda page: page.name)
def test_paths_of_modules_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    paths = re.findall(rf"`((?:{'|'.join(PACKAGES)})/[\w/]+\.(?:py|js|toml|j2))`", text)
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", CURRENT_PAGES, ids=lambda page: page.name)
def test_settings_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"ICANVAS_[A-Z_]+[A-Z]", text))
    # `ICANVAS_SERVE_*` stands for all of them.
    assert named - SETTINGS - SERVE_SETTINGS - {"ICANVAS_SERVE"} == set()


def test_the_reference_lists_every_setting_and_key() -> None:
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert {name for name in SETTINGS | SERVE_SETTINGS if f"`{name}`" not in text} == set()
    # What a command's options set is no key of an entry's file.
    options = {"limit", "re_extract", "archive", "tables_archive"}
    keys = set(DatasetConfig.model_fields) - options
    assert {key for key in keys if not re.search(rf"\b{key}\b", text)} == set()


def test_the_training_page_lists_every_recipe_field() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert {name for name in Recipe.model_fields if f"`{name}`" not in text} == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900
