import io

import numpy as np
from PIL import Image

from postprocess import encode_jpeg, make_contact_sheet


def test_pictures_are_in_reading_order() -> None:
    pictures = [np.full((10, 20, 3), value, np.uint8) for value in (10, 20, 30, 40, 50)]
    sheet = make_contact_sheet(pictures, columns=2)
    assert sheet.shape == (3 * 14 + 4, 2 * 24 + 4, 3)
    centers = [
        sheet[4 + 14 * row + 5, 4 + 24 * column + 10, 0]
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0))
    ]
    assert centers == [10, 20, 30, 40, 50]
    assert (sheet[:4] == 224).all()


def test_sheet_is_as_wide_as_its_pictures() -> None:
    assert make_contact_sheet([np.zeros((10, 20, 3), np.uint8)], columns=6).shape == (18, 28, 3)


def test_full_chroma_preserves_color_of_fine_lines() -> None:
    lines = np.full((64, 64, 3), 255, np.uint8)
    lines[:, ::4] = (255, 0, 0)
    mean_diffs = []
    for data in (encode_jpeg(lines, 95), encode_jpeg(lines, 95, "4:4:4")):
        with Image.open(io.BytesIO(data)) as image:
            mean_diffs.append(np.abs(np.asarray(image).astype(int) - lines).mean())
    assert mean_diffs[1] < 3 < mean_diffs[0] / 3
