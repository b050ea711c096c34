"""Comparing through a real Prefect server."""

import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from config.errors import InputError, SourceError
from flows.compare import compare
from model.evaluation.comparison import LINES, SKETCHES, TRUE, VALIDATION
from model.export.promotion import promote
from storage import LocalStore, keys
from storage.pair_sets import CurrentPairs, swap_current
from tests.conftest import encode
from tests.model.checkpoints import keep_run
from tests.model.pairs import publish
from tests.model.training.test_samples import scrawl

pytestmark = pytest.mark.usefixtures("prefect_api", "quick_network")


@pytest.fixture
def tiny(store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prepared folder of the name tiny, whose edges need no wide border."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue/tiny.toml").write_text(
        'name = "tiny"\ntitle = "A few scenes"\n[source]\nkind = "local"\npath = "../tiny"\n'
        "[edges]\nborder = 2\nthreshold = 0.5\n"
    )
    monkeypatch.setenv("ICANVAS_CATALOGUE", str(tmp_path / "catalogue"))
    publish(store, "tttvv")
    swap_current(store, "tiny", CurrentPairs(fingerprint="pairs", source=str(tmp_path / "tiny")))
    return "tiny"


def artifact(key: str) -> str:
    with get_client(sync_client=True) as client:
        these = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        return str(client.read_artifacts(artifact_filter=these)[-1].data)


def test_a_comparison_is_kept_and_shown(tiny: str, store: LocalStore, tmp_path: Path) -> None:
    keep_run(store, "aaaa", 2)
    keep_run(store, "bbbb", 1)
    promote(store, tiny, "aaaa", 1, title="A few scenes")
    with zipfile.ZipFile(tmp_path / "drawings.zip", "w") as archive:
        archive.writestr("one.png", encode(scrawl()))
        archive.writestr("more/two.jpg", encode(scrawl()[::-1].copy(), "JPEG"))
    found = compare(tiny, ("bbbb",), str(tmp_path / "drawings.zip"), 2)

    files = {key.rpartition("/")[2] for key in store.list(found.folder)}
    assert files == {"settings.json", "table.csv", "sheet.jpg", "vote.html"}
    assert found.folder.startswith("models/tiny/comparisons/")
    settings = json.loads(store.get(f"{found.folder}/settings.json"))
    assert set(settings["checkpoints"]) == {"aaaa/1", "bbbb/1"}
    assert settings["production"] == "aaaa/1"
    assert set(settings["sketches"]) == {"more/two.jpg", "one.png"}
    table = pd.read_csv(io.BytesIO(store.get(f"{found.folder}/table.csv")))
    assert set(table["checkpoint"]) == {"aaaa/1", "bbbb/1", LINES, TRUE}
    assert set(table["drawings"]) == {VALIDATION, SKETCHES}
    assert table[table["drawings"] == SKETCHES]["pictures"].unique().tolist() == [2]
    with Image.open(io.BytesIO(store.get(f"{found.folder}/sheet.jpg"))) as sheet:
        assert sheet.width == 5 * 260 + 4
    page = store.get(f"{found.folder}/vote.html").decode()
    assert found.fingerprint in page and "aaaa/1" in page

    shown = artifact("comparison-tiny")
    assert "aaaa/1 (in production)" in shown and "data:image/jpeg;base64," in shown
    assert f"{found.folder}/vote.html" in shown

    # The same again is the same.
    again = compare(tiny, ("bbbb",), str(tmp_path / "drawings.zip"), 2)
    assert again.fingerprint == found.fingerprint
    assert again.comparison == found.comparison
    assert store.get(f"{found.folder}/vote.html").decode() == page


def test_what_cannot_be_compared(tiny: str, store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no checkpoint to compare"):
        compare(tiny)
    keep_run(store, "aaaa", 1)
    with pytest.raises(SourceError, match="no run cccc"):
        compare(tiny, ("cccc",))
    with pytest.raises(SourceError, match="does not exist"):
        compare(tiny, (), str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no picture"):
        compare(tiny, (), str(tmp_path / "empty"))
    store.delete(keys.current_pairs(tiny))
    with pytest.raises(InputError, match="has no pairs"):
        compare(tiny)
