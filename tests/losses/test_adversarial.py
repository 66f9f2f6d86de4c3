"""Eq. 8 and 9 against binary cross-entropy by hand, their limits and gradients."""

import math

import pytest
import torch
from torch.nn import functional

from hdrcli.losses.adversarial import discriminator_side, generator_side


def test_a_discriminator_that_cannot_tell():
    undecided = torch.zeros(2, 1, 3, 3)
    assert float(generator_side(undecided)) == pytest.approx(math.log(2))
    assert float(generator_side(undecided, saturating=True)) == pytest.approx(-math.log(2))
    assert float(discriminator_side(undecided, undecided)) == pytest.approx(2 * math.log(2))


def test_they_are_the_equations():
    torch.manual_seed(0)
    real, fake = torch.randn(2, 1, 4, 4, dtype=torch.float64), torch.randn(2, 1, 5, 4, dtype=torch.float64)
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    eq_8 = d_real.log().mean() + (1 - d_fake).log().mean()
    torch.testing.assert_close(discriminator_side(real, fake), -eq_8)
    torch.testing.assert_close(generator_side(fake, saturating=True), (1 - d_fake).log().mean())
    torch.testing.assert_close(generator_side(fake), functional.binary_cross_entropy(d_fake, torch.ones_like(fake)))


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_sure_discriminators_give_finite_losses(logit):
    sure = torch.full((4,), logit, requires_grad=True)
    for loss in (generator_side(sure), generator_side(sure, saturating=True), discriminator_side(sure, sure)):
        assert torch.isfinite(loss)
    assert float(generator_side(sure).detach()) == pytest.approx(max(-logit, 0.0))


def test_a_generator_that_is_found_out_still_learns():
    found_out = torch.full((1,), -30.0, requires_grad=True)
    assert torch.autograd.grad(generator_side(found_out), found_out)[0].item() == pytest.approx(-1)
    assert torch.autograd.grad(generator_side(found_out, saturating=True), found_out)[0].abs().item() < 1e-12


def test_gradients():
    torch.manual_seed(0)
    logits = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: discriminator_side(v[0], v[1]), logits)
    assert torch.autograd.gradcheck(generator_side, logits)
