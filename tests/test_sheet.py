"""Contact sheets: where pictures and labels stand, and that nothing is enlarged."""

import numpy as np
import pytest

from hdrcli.color import Transfer, encode
from hdrcli.errors import UsageError
from hdrcli.sheet import Tile, ascii_text, cell_size, contact_sheet

GROUND = 32


def coloured(height, width, colour=(200, 40, 90)):
    return np.full((height, width, 3), colour, np.uint8)


def extent(sheet, colour=(200, 40, 90)):
    """Rows and columns of the first and last pixel of a colour."""
    rows, columns = np.nonzero((sheet == colour).all(axis=2))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def boxes(sheet, colour):
    """How many separate runs of a colour there are in the rows and columns that have it."""
    found = (sheet == colour).all(axis=2)
    return [int((np.diff(np.pad(found.any(axis=a), 1).astype(int)) == 1).sum()) for a in (1, 0)]


def test_seventeen_tiles():
    sheet = contact_sheet([Tile(f"operator{i}", coloured(400, 600)) for i in range(17)])
    assert 1.2 < sheet.shape[1] / sheet.shape[0] < 1.9
    assert 1880 <= sheet.shape[1] <= 1920
    rows, columns = boxes(sheet, (200, 40, 90))
    assert rows * columns >= 17
    assert (rows - 1) * columns < 17
    assert (sheet == coloured(*sheet.shape[:2])).all(axis=2).mean() > 0.6
    background = sheet[(sheet != (200, 40, 90)).any(axis=2)]
    assert (background == background[:, :1]).all()  # neutral, letters, too


def test_small_pictures_keep_their_pixels():
    picture = np.random.default_rng(0).integers(0, 256, (50, 140, 3), dtype=np.uint8)
    sheet = contact_sheet([Tile("small", picture)])
    windows = np.lib.stride_tricks.sliding_window_view(sheet, picture.shape)[:, :, 0]
    assert any((windows[i, j] == picture).all() for i in range(windows.shape[0]) for j in range(windows.shape[1]))
    assert sheet.shape[1] < 200


def test_large_pictures_are_averaged_as_light():
    picture = np.zeros((900, 1200, 3), np.uint8)
    picture[::2] = 255
    sheet = contact_sheet([Tile("lines", picture)], width=24 + 600)
    middle = sheet[200:250, 200:300]
    assert np.abs(middle.astype(int) - round(255 * encode(np.float64(0.5), Transfer.SRGB))).max() <= 1


def test_other_shapes_are_centred():
    wide, tall = coloured(300, 600), coloured(600, 300, (10, 220, 30))
    sheet = contact_sheet([Tile("wide", wide), Tile("wide", wide), Tile("tall", tall)], columns=3, width=924)
    top, bottom, left, right = extent(sheet, (10, 220, 30))
    cell = cell_size(3, 2.0, columns=3, width=924)
    assert bottom - top == cell[1]
    assert right - left == cell[1] // 2
    assert (left + right) / 2 == pytest.approx(12 + 2.5 * (cell[0] + 12) - 6, abs=1)
    first = extent(sheet)
    assert (first[0] + first[1]) / 2 == pytest.approx((top + bottom) / 2, abs=1)


def test_labels_are_drawn_below():
    with_label, without = (contact_sheet([Tile(text, coloured(100, 150))]) for text in ("reinhard", ""))
    assert with_label.shape == without.shape
    bottom = extent(with_label)[1]
    np.testing.assert_array_equal(with_label[:bottom], without[:bottom])
    assert (without[bottom:] == GROUND).all()
    below = with_label[bottom:]
    assert below.max() > 180
    assert (below > 120).any(axis=2).sum() > 60
    assert (below[-8:] == GROUND).all()


def test_long_labels_stay_in_their_cell():
    sheet = contact_sheet([Tile("", coloured(100, 150)), Tile("w" * 500, coloured(100, 150))], columns=2)
    assert (sheet[112:, : 12 + 150 + 6] == GROUND).all()
    assert (sheet[:, -6:] == GROUND).all()


def test_faults_are_told_in_their_tile():
    fine = Tile("fine", coloured(100, 300))
    sheet = contact_sheet([fine, Tile("broken", None, "the operator gave up: " + "very long " * 90)], columns=2)
    quiet = contact_sheet([fine, Tile("broken", coloured(100, 300), "it")], columns=2)
    right = sheet[12:112, 12 + 300 + 12 : -12]
    assert (right[:10] == 72).all()
    other = quiet[12:112, 12 + 300 + 12 : -12]
    assert (right > 150).sum() > (other > 150).sum() > 0  # the picture of a fault is not shown
    assert (other < 210).all()
    assert contact_sheet([Tile("only", None, "broken")]).shape[2] == 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (600, 400), (2, 3)])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_any_size_and_number(shape, count):
    sheet = contact_sheet([Tile(f"{i}", coloured(*shape)) for i in range(count)], width=1280)
    assert sheet.shape[1] <= 1280
    assert (sheet == (200, 40, 90)).all(axis=2).any()
    np.testing.assert_array_equal(sheet, contact_sheet([Tile(f"{i}", coloured(*shape)) for i in range(count)], width=1280))


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (0, {}, "a picture"),
        (3, {"columns": 0}, "too few"),
        (30, {"columns": 30}, "columns leave too little"),
        (1, {"width": 100}, "100 pixels"),
        (1, {"width": 99999}, "99999 pixels"),
    ],
)
def test_what_makes_no_sheet_is_refused(count, options, message):
    with pytest.raises(UsageError, match=message):
        contact_sheet([Tile("x", coloured(9, 9))] * count, **options)


@pytest.mark.parametrize(
    ("text", "plain"),
    [("reinhard05", "reinhard05"), ("μ-law", "mu-law"), ("Drago é ü", "Drago e u"), ("×2 – 你", "x2 - ?"), ("a\nb", "a b")],
)
def test_labels_are_spelled_in_ascii(text, plain):
    assert ascii_text(text) == plain
