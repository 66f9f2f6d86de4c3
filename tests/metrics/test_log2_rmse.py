"""Error in stops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdrcli.metrics import Viewing
from hdrcli.metrics.log2_rmse import SCORES, log2_rmse


def test_a_factor_of_two_is_a_stop():
    x = np.full((4, 4, 3), 8.0, np.float32)
    assert log2_rmse(4 * x, x) == pytest.approx(2, abs=1e-3)


def test_the_floor_is_2_to_the_minus_10():
    zero = np.zeros((2, 2, 3))
    assert log2_rmse(zero + 2.0**-10, zero) == pytest.approx(1)


def test_root_of_the_mean_square():
    reference = np.ones((1, 2, 3)) - 2.0**-10
    test = reference.copy()
    test[0, 0] = 8 - 2.0**-10
    assert log2_rmse(test, reference) == pytest.approx(3 / math.sqrt(2))


def test_only_the_samples_asked_for_count():
    reference, test = np.ones((2, 2, 3)), np.ones((2, 2, 3))
    test[0, 0, 1] = 100
    where = np.ones(test.shape, bool)
    where[0, 0, 1] = False
    assert log2_rmse(test, reference, where) == 0
    assert math.isnan(log2_rmse(test, reference, np.zeros_like(where)))


def test_negative_light_counts_as_none():
    reference = np.array([[[0.0, 1.0, 2.0]]])
    assert log2_rmse(np.array([[[-5.0, 1.0, 2.0]]]), reference) == 0


@given(st.integers(0, 1000), st.floats(0.01, 100))
def test_a_factor_far_above_the_floor(seed, factor):
    reference = np.random.default_rng(seed).uniform(1e4, 1e6, (3, 4, 3))
    assert log2_rmse(factor * reference, reference) == pytest.approx(abs(math.log2(factor)), abs=1e-4)
    assert log2_rmse(reference, factor * reference) == pytest.approx(abs(math.log2(factor)), abs=1e-4)


def test_the_score_takes_100_nits_as_white():
    (score,) = SCORES
    assert (score.name, score.unit, score.better) == ("log2_rmse", "stops", "lower")
    black = np.zeros((2, 2, 3))
    assert score.compute(black + 100 * 2.0**-10, black, Viewing()) == pytest.approx(1)
    rng = np.random.default_rng(0)
    test, reference = rng.random((2, 5, 6, 3))
    assert score.compute(100 * test, 100 * reference, Viewing()) == pytest.approx(log2_rmse(test, reference), abs=1e-12)
