"""What describes the test picture alone: against the statistics of `hdrcli info` and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.color import Transfer, luminance
from hdrcli.errors import Unavailable
from hdrcli.image import Image
from hdrcli.inspection import light_statistics
from hdrcli.metrics import Viewing
from hdrcli.metrics.statistics import HANDFUL, SCORES, clipped_share, entropy, stops


def lognormal(seed=0, shape=(60, 70)):
    return np.exp(3 * np.random.default_rng(seed).standard_normal((*shape, 3)))


def grey(values):
    return np.asarray(values, np.float64)[..., None] * np.ones(3)


@pytest.mark.parametrize("seed", range(3))
def test_stops_are_those_of_info(seed):
    picture = lognormal(seed).astype(np.float32)
    picture[:3] = 0
    picture[3:5] = -1
    low, high = light_statistics(Image(picture, Transfer.LINEAR)).usual
    assert stops(picture) == pytest.approx(math.log2(high / low), abs=1e-3)  # info's histogram is that exact


def test_stops_of_a_ramp():
    exposures = np.linspace(0, 12, 100001)  # one value per pixel, evenly in stops
    assert stops(grey(2.0 ** exposures.reshape(1, -1))) == pytest.approx(12 * 0.998, abs=1e-3)


@given(st.floats(1e-4, 1e4))
@settings(max_examples=20)
def test_a_scale_changes_neither_stops_nor_share(factor):
    picture = lognormal(1, (20, 20))
    picture[:5, :6] = 2 * picture.max()
    assert stops(factor * picture) == pytest.approx(stops(picture), abs=1e-9)
    assert clipped_share(factor * picture) == clipped_share(picture) == 30 / 400


def test_stops_of_one_level_and_of_black():
    assert stops(grey(np.full((3, 3), 7.0))) == pytest.approx(0, abs=1e-12)
    with pytest.raises(Unavailable, match="above 0"):
        stops(np.zeros((3, 3, 3)))


def test_share_of_a_picture_cut_at_a_percentile():
    picture = lognormal()
    cut = np.minimum(picture, np.quantile(picture.max(axis=2), 0.9))
    assert clipped_share(cut) == pytest.approx(0.1, abs=1e-3)
    assert clipped_share(picture) == 0


def test_one_channel_suffices():
    picture = lognormal(2, (10, 10))
    picture[:2, :, 2] = 2 * picture.max()
    assert clipped_share(picture) == 0.2


@pytest.mark.parametrize(("pixels", "share"), [(HANDFUL - 1, 0), (HANDFUL, HANDFUL / 100)])
def test_a_handful_of_equal_pixels_is_no_ceiling(pixels, share):
    picture = grey(np.linspace(0.1, 0.5, 100).reshape(10, 10))
    picture.reshape(100, 3)[:pixels] = 1
    assert clipped_share(picture) == share


def test_rounding_does_not_break_the_ceiling():
    picture = grey(np.linspace(0.1, 0.5, 100).reshape(10, 10))
    picture[0] = 3 * (1 - 5e-7)
    picture[1] = 3
    assert clipped_share(picture) == 0.2


def test_share_of_constant_black_and_tiny_pictures():
    assert clipped_share(grey(np.full((30, 30), 2.0))) == 1
    assert clipped_share(np.zeros((30, 30, 3))) == 0
    assert clipped_share(-np.ones((30, 30, 3))) == 0
    assert clipped_share(np.ones((1, 1, 3))) == 1
    assert clipped_share(np.full((8, 8, 3), 65504, np.float16)) == 1


def test_entropy_of_levels_in_equal_number():
    for levels in (1, 2, 16, 256):
        # the middles of eighths of stops from 2^-14 on
        log_light = -14 + (np.arange(levels) + 0.5) / 8
        assert entropy(grey(2.0 ** np.tile(log_light, (4, 1)))) == pytest.approx(math.log2(levels), abs=1e-12)


def test_entropy_of_many_pixels():
    picture = lognormal()
    _, counts = np.unique(np.floor(8 * (np.log2(luminance(picture)) + 14)), return_counts=True)
    expected = math.log2(counts.sum()) - sum(n * math.log2(n) for n in counts) / counts.sum()
    assert entropy(picture) == pytest.approx(expected, abs=1e-12)


def test_what_lies_outside_counts_into_the_end_bins():
    inside = [2.0**-13.9, 2.0**17.9]
    assert entropy(grey([[0.0, -5.0, *inside, 1e9]])) == entropy(grey([[inside[0]] * 3 + [inside[1]] * 2]))
    assert entropy(np.zeros((3, 3, 3))) == 0
    assert math.copysign(1, entropy(np.zeros((3, 3, 3)))) == 1


def test_scores_describe_the_test_picture():
    test, reference = lognormal(3), lognormal(4)
    for score, describe in zip(SCORES, (stops, clipped_share, entropy), strict=True):
        assert score.name == describe.__name__
        assert score.better == "neither"
        assert score.compute(test, reference, Viewing()) == describe(test)
