"""Comparisons through a real Prefect server."""

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
from model.evaluation.comparison import LINES_BASELINE, SKETCHES, TARGETS_BASELINE, VALIDATION
from model.export.promotion import promote_checkpoint
from storage import LocalStore, keys
from storage.pair_sets import CurrentPairs, swap_current
from tests.conftest import encode
from tests.model.checkpoints import save_test_run
from tests.model.pairs import publish_test_pairs
from tests.model.training.test_samples import make_sketch

pytestmark = pytest.mark.usefixtures("prefect_api", "quick_network")


@pytest.fixture
def tiny(store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Prepare a data set `tiny` of a folder, with a small border."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue/tiny.toml").write_text(
        'name = "tiny"\ntitle = "A few scenes"\n[source]\nkind = "local"\npath = "../tiny"\n'
        "[edges]\nborder = 2\nthreshold = 0.5\n"
    )
    monkeypatch.setenv("ICANVAS_CATALOGUE", str(tmp_path / "catalogue"))
    publish_test_pairs(store, "tttvv")
    swap_current(store, "tiny", CurrentPairs(fingerprint="pairs", source=str(tmp_path / "tiny")))
    return "tiny"


def read_artifact(key: str) -> str:
    with get_client(sync_client=True) as client:
        artifact_filter = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        return str(client.read_artifacts(artifact_filter=artifact_filter)[-1].data)


def test_comparison_is_stored_and_shown(tiny: str, store: LocalStore, tmp_path: Path) -> None:
    save_test_run(store, "aaaa", 2)
    save_test_run(store, "bbbb", 1)
    promote_checkpoint(store, tiny, "aaaa", 1, title="A few scenes")
    with zipfile.ZipFile(tmp_path / "drawings.zip", "w") as archive:
        archive.writestr("one.png", encode(make_sketch()))
        archive.writestr("more/two.jpg", encode(make_sketch()[::-1].copy(), "JPEG"))
    stored = compare(tiny, ("bbbb",), str(tmp_path / "drawings.zip"), 2)

    files = {key.rpartition("/")[2] for key in store.list_keys(stored.folder)}
    assert files == {"settings.json", "table.csv", "sheet.jpg", "vote.html"}
    assert stored.folder.startswith("models/tiny/comparisons/")
    settings = json.loads(store.get(f"{stored.folder}/settings.json"))
    assert set(settings["checkpoints"]) == {"aaaa/1", "bbbb/1"}
    assert settings["production"] == "aaaa/1"
    assert set(settings["sketches"]) == {"more/two.jpg", "one.png"}
    table = pd.read_csv(io.BytesIO(store.get(f"{stored.folder}/table.csv")))
    assert set(table["checkpoint"]) == {"aaaa/1", "bbbb/1", LINES_BASELINE, TARGETS_BASELINE}
    assert set(table["drawings"]) == {VALIDATION, SKETCHES}
    assert table[table["drawings"] == SKETCHES]["pictures"].unique().tolist() == [2]
    with Image.open(io.BytesIO(store.get(f"{stored.folder}/sheet.jpg"))) as sheet:
        assert sheet.width == 5 * 260 + 4
    page = store.get(f"{stored.folder}/vote.html").decode()
    assert stored.fingerprint in page and "aaaa/1" in page

    markdown = read_artifact("comparison-tiny")
    assert "aaaa/1 (in production)" in markdown and "data:image/jpeg;base64," in markdown
    assert f"{stored.folder}/vote.html" in markdown

    # Repeating it gives the same result.
    repeated = compare(tiny, ("bbbb",), str(tmp_path / "drawings.zip"), 2)
    assert repeated.fingerprint == stored.fingerprint
    assert repeated.comparison == stored.comparison
    assert store.get(f"{stored.folder}/vote.html").decode() == page


def test_comparison_without_inputs_raises(tiny: str, store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no checkpoint to compare"):
        compare(tiny)
    save_test_run(store, "aaaa", 1)
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
