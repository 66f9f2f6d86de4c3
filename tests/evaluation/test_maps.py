from __future__ import annotations

import numpy as np
import pytest

from hdrcli.color import Transfer
from hdrcli.evaluation import maps


def shown(value: float) -> np.ndarray:
    return maps.stops_map(np.full((20, 400), value, np.float32), "x").pixels[10, 200].astype(int)


def test_error_in_stops_by_hand() -> None:
    rng = np.random.default_rng(0)
    reference = rng.uniform(-0.1, 200, (150, 9, 3))
    test = reference * 2 ** rng.normal(0, 1, (150, 9, 1))
    weights = np.array([0.2126, 0.7152, 0.0722])
    above, below = (np.maximum(x @ weights, 0) + 100 / 1024 for x in (test, reference))
    found = maps.error_in_stops(test, reference, 100.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.log2(above / below), atol=2e-4)


def test_black_is_finite_and_equal_is_zero() -> None:
    black = np.zeros((4, 4, 3), np.float32)
    np.testing.assert_array_equal(maps.error_in_stops(black, black, 1.0), 0)
    np.testing.assert_allclose(maps.error_in_stops(black + 1, black, 1.0), np.log2(1025), rtol=1e-5)


def test_colours_tell_the_sign() -> None:
    right = shown(0)
    assert right.min() > 240
    for size in (1.0, 2.5, 4.0):
        dark, bright = shown(-size), shown(size)
        assert dark[2] > dark[0]
        assert bright[0] > bright[2]
        assert dark.sum() < right.sum() > bright.sum()
    np.testing.assert_array_equal(shown(9), shown(4))
    np.testing.assert_array_equal(shown(-9), shown(-4))


def test_a_legend_is_below_whatever_the_size() -> None:
    for height, width in ((1, 1), (30, 500), (500, 30)):
        picture = maps.stops_map(np.zeros((height, width), np.float32), "title with ü")
        assert picture.transfer is Transfer.SRGB
        assert picture.height > height
        assert picture.width >= max(width, 300)
        assert len(np.unique(picture.pixels[height:].reshape(-1, 3), axis=0)) > 100


def test_probability_gets_brighter() -> None:
    sums = [int(maps.probability_map(np.full((5, 400), p), "x").pixels[2, 200].sum()) for p in (0, 0.3, 0.6, 1)]
    assert sums == sorted(sums)
    assert sums[0] < 60
    assert sums[-1] > 700


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_ends_are_inside_the_table(value: float) -> None:
    maps.probability_map(np.full((2, 2), value), "x")
