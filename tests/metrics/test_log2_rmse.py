"""Error in stops."""

import math

import numpy as np
import pytest

from hdrcli.metrics.log2_rmse import log2_rmse


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
