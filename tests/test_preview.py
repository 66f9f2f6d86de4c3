from __future__ import annotations

import numpy as np
import pytest

from hdrcli.color import Primaries, Transfer
from hdrcli.image import Image
from hdrcli.preview import PANEL, compare


def photo(height: int, width: int, value: int = 255) -> Image:
    return Image(np.full((height, width, 3), value, np.uint8), Transfer.SRGB)


def panels(picture: Image) -> list[np.ndarray]:
    """The middle pixel of each panel."""
    third = picture.width // 3
    return [picture.pixels[picture.height // 2, third * i + third // 2] for i in range(3)]


def test_what_was_lost_is_grey_and_what_came_back_is_bright() -> None:
    result = Image(np.full((400, 600, 3), 8.0, np.float16), Transfer.LINEAR)
    left, middle, right = panels(compare(photo(400, 600), result))
    assert left.tolist() == [255] * 3
    assert middle.tolist() == [99] * 3  # sRGB code of 1/8
    assert right.tolist() == [255] * 3


def test_exposure_of_the_result_is_taken_back() -> None:
    result = Image(np.full((400, 600, 3), 4.0, np.float32), Transfer.LINEAR)
    _, middle, right = panels(compare(photo(400, 600), result, ev=2))
    assert middle.tolist() == right.tolist()


def test_colours_are_shown_in_srgb() -> None:
    red = np.zeros((400, 600, 3), np.float32)
    red[..., 0] = 0.5
    _, _, right = panels(compare(photo(400, 600), Image(red, Transfer.LINEAR, Primaries.BT2020), stops=0))
    assert right[0] > 188
    assert right[1:].max() == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (901, 1201), (2400, 3601), (10, 10)])
def test_any_size(size: tuple[int, int]) -> None:
    result = Image(np.full((*size, 3), 1.0, np.float16), Transfer.LINEAR)
    picture = compare(photo(*size), result)
    assert picture.pixels.dtype == np.uint8
    assert picture.height <= PANEL[0] + 50
    assert picture.width <= 3 * (PANEL[1] + 20)
    assert picture.pixels.max() == 255
