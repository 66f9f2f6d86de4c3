"""Eq. 10: mean absolute difference, over feedback iterations, with and without weights."""

import pytest
import torch

from hdrcli.losses import mean_l1
from hdrcli.losses.cycle import LAMBDA, cycle_loss


def test_mean_absolute_difference_by_hand():
    original = torch.tensor([[[[0.0, 1.0], [0.5, 0.25]]]])
    again = torch.tensor([[[[0.5, 1.0], [0.0, 0.75]]]])
    assert float(cycle_loss(again, original)) == pytest.approx(1.5 / 4)
    assert float(cycle_loss(original, original)) == 0
    assert LAMBDA == 10


def test_iterations_are_averaged():
    original = torch.zeros(1, 3, 2, 2)
    images = [torch.full_like(original, v) for v in (1.0, 2.0, 6.0)]
    assert float(cycle_loss(images, original)) == pytest.approx(3)


def test_it_does_not_depend_on_the_images_size():
    torch.manual_seed(0)
    a, b = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    assert float(cycle_loss(a.repeat(1, 1, 3, 2), b.repeat(1, 1, 3, 2))) == pytest.approx(float(cycle_loss(a, b)))


def test_weights_choose_what_counts():
    target, image = torch.zeros(1, 1, 1, 3), torch.tensor([[[[1.0, 3.0, 100.0]]]])
    assert float(mean_l1(image, target, torch.tensor([[[[1.0, 1.0, 0.0]]]]))) == pytest.approx(2)
    assert float(mean_l1(image, target, torch.zeros(1, 1, 1, 3))) == 0


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="no image"):
        mean_l1([], torch.zeros(1))


def test_gradient_is_the_sign_over_the_count():
    image = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    cycle_loss(image, torch.full((4,), 1.5, dtype=torch.float64)).backward()
    assert image.grad.tolist() == [-0.25, -0.25, 0.25, 0.25]
