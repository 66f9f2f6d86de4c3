"""Eq. 2: shares of pixels and their weights; severity gives what counts have not, a gradient."""

import pytest
import torch

from hdrcli.losses.perception import ARTIFACT_ONLY, perception_loss, shares


def counted():
    """Maps of 4 x 5 pixels: 2 artifacts, 5 overexposed, 10 underexposed."""
    maps = torch.zeros(1, 3, 20)
    for channel, count in enumerate((2, 5, 10)):
        maps[0, channel, :count] = 1
    return maps.view(1, 3, 4, 5)


def test_with_maps_of_zero_and_one_it_is_eq_2():
    assert shares(counted()).tolist() == pytest.approx([0.1, 0.25, 0.5])
    assert float(perception_loss(counted())) == pytest.approx(3 * 2 / 20 + 2 * 5 / 20 + 1.5 * 10 / 20)


def test_backward_cycle_counts_artifacts_alone():
    assert float(perception_loss(counted(), weights=ARTIFACT_ONLY)) == pytest.approx(3 * 2 / 20)


def test_limits():
    assert float(perception_loss(torch.zeros(2, 3, 4, 4))) == 0
    assert float(perception_loss(torch.ones(2, 3, 4, 4))) == pytest.approx(6.5)


def test_severity_weighs_pixels_and_carries_the_gradient():
    severity = torch.full((1, 3, 4, 5), 0.5, requires_grad=True)
    loss = perception_loss(counted(), severity)
    assert float(loss.detach()) == pytest.approx(float(perception_loss(counted())) / 2)
    loss.backward()
    torch.testing.assert_close(severity.grad, counted() * torch.tensor([3.0, 2.0, 1.5]).view(1, 3, 1, 1) / 20)
