"""Eq. 11 in both encodings: a generator that does its work right loses nothing in the encoded one."""

import numpy as np
import pytest
import torch

from hdrcli.color import Transfer, encode
from hdrcli.losses.identity import for_g_x, for_g_y, identity_loss
from hdrcli.networks import feedback_unet
from hdrcli.networks.feedback_unet import linear_to_srgb, to_t

PEAK = 64.0


def test_srgb_agrees_with_numpy_and_has_finite_gradients():
    y = torch.linspace(0, 1, 201, dtype=torch.float64, requires_grad=True)
    codes = linear_to_srgb(y)
    np.testing.assert_allclose(codes.detach(), encode(np.linspace(0, 1, 201), Transfer.SRGB), atol=1e-12)
    codes.sum().backward()
    assert torch.isfinite(y.grad).all()


def test_encoded_untrained_g_y_is_an_identity_where_codes_tell_the_truth():
    """It starts as the linearised input: exactly what Eq. 11 wants of LDR, once both sides are in their encoding."""
    torch.manual_seed(0)
    network = feedback_unet.build(feedback_unet.Config(width=4, iterations=2, gates=False, peak=PEAK)).eval()
    y = torch.rand(1, 3, 8, 8) * 2  # half of it above LDR white
    identity = for_g_y(to_t(y, PEAK), PEAK)
    with torch.no_grad():
        images = network.iterate(identity.given)
    assert float(identity_loss(images, identity)) < 1e-5
    assert torch.equal(identity.weight, (y <= 1).float())
    assert float(identity_loss(images, identity._replace(weight=None))) > 0.01  # what is above white can't be known
    paper = for_g_y(to_t(y, PEAK), PEAK, "paper")
    with torch.no_grad():
        assert float(identity_loss(network.iterate(paper.given.clamp(0, 1)), paper)) > 0.05


def test_codes_that_g_y_is_fed_are_those_of_a_photo():
    y = torch.tensor([0.0, 0.001, 0.18, 1.0, 7.0, 64.0]).view(1, 1, 1, 6).expand(1, 3, 1, 6)
    identity = for_g_y(to_t(y, PEAK), PEAK)
    np.testing.assert_allclose(identity.given, encode(np.minimum(y.numpy(), 1), Transfer.SRGB), atol=1e-5)
    torch.testing.assert_close(identity.expected, to_t(y, PEAK))


def test_g_x_is_fed_t_of_the_linearised_codes():
    codes = torch.linspace(0, 1, 12).view(1, 3, 2, 2)
    identity = for_g_x(codes, PEAK)
    again = for_g_y(identity.given, PEAK)  # the two are each other's inverse up to LDR white
    torch.testing.assert_close(again.given, codes, rtol=0, atol=1e-5)
    assert identity.expected is codes
    assert identity.weight is None


@pytest.mark.parametrize("function", [for_g_x, for_g_y])
def test_to_the_letter_both_are_the_image_itself(function):
    image = torch.rand(1, 3, 2, 2)
    identity = function(image, PEAK, "paper")
    assert identity.given is image
    assert identity.expected is image
    assert float(identity_loss(image, identity)) == 0
    assert float(identity_loss(image + 0.25, identity)) == pytest.approx(0.25)
