import zipfile
from pathlib import Path

import pytest

from config.errors import InputError, SourceError
from sources.tables import select_names

# As published: some headings begin with a space, names contain apostrophes that files lack, and
# the quality of many pictures is empty.
ADVERTS = """Maker, Genmodel, Genmodel_ID, Adv_ID, Bodytype
BMW,5 Series,8_7,8_7$$1,Saloon
BMW,5 Series,8_7,8_7$$2,Estate
BMW,7 Series,8_9,8_9$$1,
"""
PICTURES = """Genmodel_ID, Image_ID, Image_name, Predicted_viewpoint, Quality_check
8_7,8_7$$1$$0,BMW$$5 Series$$2010$$Red$$8_7$$1$$image_0.jpg,0,P
8_7,8_7$$1$$1,BMW$$5 Series$$2010$$Red$$8_7$$1$$image_1.jpg,180,
8_7,8_7$$2$$0,BMW$$5 Series$$2011$$Don't$$8_7$$2$$image_0.jpg,0,N
8_9,8_9$$1$$0,BMW$$7 Series$$2012$$Blue$$8_9$$1$$image_0.jpg,45,P
"""
A, B, C, D = (
    "BMW$$5 Series$$2010$$Red$$8_7$$1$$image_0.jpg",
    "BMW$$5 Series$$2010$$Red$$8_7$$1$$image_1.jpg",
    "BMW$$5 Series$$2011$$Dont$$8_7$$2$$image_0.jpg",
    "BMW$$7 Series$$2012$$Blue$$8_9$$1$$image_0.jpg",
)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    path = tmp_path / "tables_V2.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tables_V2.0/Ad_table.csv", ADVERTS)
        archive.writestr("tables_V2.0/Image_table.csv", PICTURES)
        archive.writestr("tables_V2.0/Basic_table.csv", "Automaker\n")
    return path


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ({"quality": ("P",)}, {A, D}),
        ({"viewpoint": ("0", "45")}, {A, C, D}),
        ({"body_type": ("saloon",)}, {A, B}),
        ({"body_type": ("Saloon", "Estate"), "viewpoint": ("0",)}, {A, C}),
        ({"body_type": ("Estate",), "quality": ("P",)}, set()),
    ],
)
def test_pictures_are_selected_by_both_tables(
    tables: Path, where: dict[str, tuple[str, ...]], names: set[str]
) -> None:
    assert select_names(tables, where) == names


def test_tables_are_read_from_a_folder(tables: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tables) as archive:
        archive.extractall(tmp_path / "tables")
    assert select_names(tmp_path / "tables", {"quality": ("N",)}) == {C}


def test_invalid_columns_values_and_tables_are_reported(tables: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="body_type, viewpoint, quality"):
        select_names(tables, {"colour": ("red",)})
    with pytest.raises(InputError, match=r"body_type=Sedan.*estate, saloon"):
        select_names(tables, {"body_type": ("Sedan",)})
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"no Image_table\.csv"):
        select_names(tmp_path / "empty", {"quality": ("P",)})
    for content in (b"", "Citro\u00ebn".encode("latin-1"), b'a,b\n"1,2\n3,4'):
        (tmp_path / "empty" / "Image_table.csv").write_bytes(content)
        with pytest.raises(SourceError, match=r"Image_table\.csv"):
            select_names(tmp_path / "empty", {"quality": ("P",)})
    (tmp_path / "empty" / "Image_table.csv").write_text("Image_ID,Image_name\n")
    with pytest.raises(SourceError, match="no column Quality_check"):
        select_names(tmp_path / "empty", {"quality": ("P",)})
