"""Learning rates over a run."""

import numpy as np
import pytest

from hdrcli.training.schedule import learning_rate_factor


def test_cosine_warms_up_and_falls_along_a_half_cosine():
    assert learning_rate_factor(0, 0.0, 10) == pytest.approx(0.1)
    assert learning_rate_factor(9, 0.0, 10) == pytest.approx(1)
    assert learning_rate_factor(500, 0.5, 10) == pytest.approx(0.01 + 0.99 / 2)
    assert learning_rate_factor(900, 1.0, 10) == pytest.approx(0.01)
    rates = [learning_rate_factor(1000, f, 10) for f in np.linspace(0, 1, 50)]
    assert (np.diff(rates) < 0).all()


def test_constant_for_100_of_170_epochs_then_linear_to_zero():
    def rate(epoch):
        return learning_rate_factor(epoch * 1000, epoch / 170, 0, "constant-linear")

    assert [rate(e) for e in (0, 50, 100)] == pytest.approx([1, 1, 1])
    assert [rate(e) for e in (135, 163, 170)] == pytest.approx([0.5, 0.1, 0])
    assert learning_rate_factor(10**6, 1.2, 0, "constant-linear") == 0


def test_the_constant_share_can_be_changed():
    assert learning_rate_factor(9, 0.9, 0, "constant-linear", 0.8) == pytest.approx(0.5)
    assert learning_rate_factor(9, 0.9, 0, "constant-linear", 1.0) == 1
