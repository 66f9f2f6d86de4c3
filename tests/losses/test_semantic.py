"""Eq. 7."""

import pytest
import torch

from hdrcli.losses.semantic import semantic_loss


def test_one_minus_the_mean():
    iou = torch.tensor([1.0, 0.5, 0.0], requires_grad=True)
    loss = semantic_loss(iou)
    assert float(loss.detach()) == pytest.approx(0.5)
    loss.backward()
    assert iou.grad.tolist() == pytest.approx([-1 / 3] * 3)
    assert float(semantic_loss(torch.ones(4))) == 0
