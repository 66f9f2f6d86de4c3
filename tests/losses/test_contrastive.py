"""Eq. 3 and 4 against loops written from the paper, their limits, and the batch of one."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hdrcli.errors import UsageError
from hdrcli.losses.contrastive import TAU, both_ways, contrastive_loss, similarity


def by_the_letter(x, y, tau):
    """Eq. 4 in loops, j != i in the denominator alone."""

    def sim(a, b):
        return float(a @ b / (a.norm() * b.norm()))

    total = 0.0
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i]
        below = sum(math.exp(sim(x[i], x[j]) / tau) + math.exp(sim(x[i], y[j]) / tau) for j in others)
        total += math.log(math.exp(sim(x[i], y[i]) / tau) / below)
    return -total / len(x)


@given(count=st.integers(2, 6), seed=st.integers(0, 2**31), tau=st.sampled_from([0.08, 0.5, 2.0]))
def test_it_is_the_equation(count, seed, tau):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, count, 7, dtype=torch.float64, generator=generator)
    assert float(contrastive_loss(x, y, tau)) == pytest.approx(by_the_letter(x, y, tau), rel=1e-9, abs=1e-9)


def test_orthogonal_images_that_keep_their_meaning():
    """sim 1 to the own output, 0 to the 2 (N - 1) others: log(2 (N - 1)) - 1 / tau."""
    x = torch.eye(4, 8)
    assert float(contrastive_loss(x, x)) == pytest.approx(math.log(6) - 1 / TAU, rel=1e-5)
    assert TAU == 0.08


def test_outputs_that_are_all_alike_cost_more():
    x = torch.eye(4, 8)
    swapped = x.roll(1, 0)
    assert contrastive_loss(x, x) < contrastive_loss(x, torch.ones_like(x)) < contrastive_loss(x, swapped)


def test_lengths_play_no_part():
    torch.manual_seed(0)
    x, y = torch.randn(2, 3, 5)
    torch.testing.assert_close(contrastive_loss(x * 7, y * 0.1), contrastive_loss(x, y), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(similarity(x, x).diagonal(), torch.ones(3))


def test_both_cycles_are_added():
    torch.manual_seed(0)
    x, y_hat, y, x_hat = torch.randn(4, 3, 5)
    expected = contrastive_loss(x, y_hat, 0.2) + contrastive_loss(y, x_hat, 0.2)
    torch.testing.assert_close(both_ways(x, y_hat, y, x_hat, 0.2), expected)


def test_gradients():
    torch.manual_seed(0)
    x, y = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: contrastive_loss(a, b, 0.3), (x, y))


def test_no_overflow_at_small_temperatures():
    x = torch.eye(2, 4)
    assert torch.isfinite(contrastive_loss(x, x, 1e-3))


def test_a_batch_of_one_is_refused_by_name():
    with pytest.raises(UsageError, match=r"batch_size: .*batch of 1 .*leave the contrastive loss out"):
        contrastive_loss(torch.ones(1, 4), torch.ones(1, 4))
