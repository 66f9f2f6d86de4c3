"""Chromaticity error in u'v', against scikit-image's XYZ and numbers of colour books."""

import math

import numpy as np
import pytest
import skimage.color
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.errors import MismatchError, Unavailable
from hdrcli.metrics import Viewing
from hdrcli.metrics.chromaticity import FLOOR, SCORES, chroma_uv, chroma_uv_map

# u'v' of BT.709's red, green, blue and of D65, to four digits as standards print them
RED, GREEN, BLUE, WHITE = (0.4507, 0.5229), (0.1250, 0.5625), (0.1754, 0.1579), (0.1978, 0.4683)


def flat(rgb, shape=(2, 3)):
    return np.broadcast_to(np.array(rgb, np.float64), (*shape, 3))


@pytest.mark.parametrize(
    ("first", "second", "uv"),
    [
        ((1, 0, 0), (0, 1, 0), (RED, GREEN)),
        ((0, 0, 1), (1, 1, 1), (BLUE, WHITE)),
        ((1, 0, 0), (1, 1, 1), (RED, WHITE)),
    ],
)
def test_distances_between_primaries_and_white(first, second, uv):
    assert chroma_uv(100 * flat(first), 100 * flat(second)) == pytest.approx(math.dist(*uv), abs=1e-4)


def test_scikit_images_xyz_agrees():
    rng = np.random.default_rng(0)
    codes = rng.random((2, 30, 40, 3))
    linear = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    test, reference = 1000 * linear
    x, y, z = np.moveaxis(skimage.color.rgb2xyz(codes), -1, 0)
    (u, u2), (v, v2) = 4 * x / (x + 15 * y + 3 * z), 9 * y / (x + 15 * y + 3 * z)
    # its matrix is another rounding of the same primaries
    np.testing.assert_allclose(chroma_uv_map(test, reference), np.hypot(u - u2, v - v2), atol=1e-4)


@given(st.integers(0, 1000), st.floats(0.5, 1000))
@settings(max_examples=25)
def test_luminance_does_not_count(seed, factor):
    test, reference = np.random.default_rng(seed).uniform(1, 100, (2, 4, 5, 3))
    value = chroma_uv(test, reference)
    assert chroma_uv(factor * test, reference) == pytest.approx(value, abs=1e-12)
    assert chroma_uv(reference, test) == pytest.approx(value, abs=1e-12)
    assert chroma_uv(factor * test, test) == pytest.approx(0, abs=1e-12)
    assert 0 <= value < 0.7


def test_pixels_that_are_dark_in_one_picture_do_not_count():
    reference = np.array(flat((50.0, 50.0, 50.0), (1, 3)))
    test = reference.copy()
    test[0, 0] = 0.9 * FLOOR * np.array([0.5, 1.2, 0.8])
    test[0, 1] = (50, 0, 0)
    distance = chroma_uv_map(test, reference)
    assert np.isnan(distance[0]).tolist() == [True, False, False]
    assert chroma_uv(test, reference) == pytest.approx(math.dist(RED, WHITE) / 2, abs=1e-4)
    np.testing.assert_array_equal(np.isnan(chroma_uv_map(reference, test)), np.isnan(distance))


def test_no_pixel_counts():
    with pytest.raises(Unavailable, match=r"0\.1 cd/m2"):
        chroma_uv(flat((0, 0, 0)), flat((100, 100, 100)))


def test_values_outside_of_the_gamut_are_finite():
    test = np.array([[(-1.0, 100, -1000), (1, 0.5, -200), (5000, -10, 3)]])
    distance = chroma_uv_map(test, flat((50, 50, 50), (1, 3)))
    assert np.isfinite(distance[~np.isnan(distance)]).all()
    assert (distance[~np.isnan(distance)] < 1).all()


def test_x_and_z_below_0_count_as_0():
    distance = chroma_uv(flat((0, 200, -1000)), flat((50, 50, 50)))  # Y is 71, the others are below 0
    assert distance == pytest.approx(math.dist((0, 9 / 15), WHITE), abs=1e-4)


def test_strips_are_the_whole():
    test, reference = np.random.default_rng(1).random((2, 500, 300, 3))
    assert chroma_uv(test, reference) == pytest.approx(np.nanmean(chroma_uv_map(test, reference)), abs=1e-12)


def test_other_shapes_are_named():
    for measure in (chroma_uv, chroma_uv_map):
        with pytest.raises(MismatchError, match="differ"):
            measure(np.ones((4, 4, 3)), np.ones((4, 1, 3)))


def test_score():
    test, reference = np.random.default_rng(2).uniform(1, 100, (2, 4, 5, 3))
    (score,) = SCORES
    assert (score.name, score.better) == ("chroma_uv", "lower")
    assert score.compute(test, reference, Viewing()) == chroma_uv(test, reference)
