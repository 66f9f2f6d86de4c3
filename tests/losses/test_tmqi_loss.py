"""Structure and naturalness against the metric itself."""

import math

import cv2
import numpy as np
import pytest
import torch

from hdrcli.losses.tmqi import WEIGHTS, fidelities, naturalness_loss, structure_loss
from hdrcli.metrics.tmqi import naturalness, tmqi


def pictures(height=187, width=198, seed=1):
    rng = np.random.default_rng(seed)
    stops = cv2.GaussianBlur(rng.normal(0, 30, (height, width, 3)).astype(np.float32), (0, 0), 6)
    light = np.exp2(stops + rng.normal(0, 0.3, stops.shape)).astype(np.float32)
    return light, np.clip((light / (1 + light)) ** (1 / 2.2), 0, 1).astype(np.float32)


def planes(*images):
    return [torch.from_numpy(image).permute(2, 0, 1)[None] for image in images]


@pytest.mark.parametrize("seed", [1, 2])
def test_fidelities_are_those_of_the_metric(seed):
    light, codes = pictures(seed=seed)
    expected = tmqi(light, codes * 255.0).s_local
    np.testing.assert_allclose(fidelities(*planes(light, codes))[0], expected, atol=1e-3)


def test_the_structure_loss_is_one_less_their_weighted_mean():
    light, codes = planes(*pictures())
    found = fidelities(light, codes, to_the_border=True)[0]
    expected = 1 - float((found * torch.tensor(WEIGHTS)).sum()) / sum(WEIGHTS)
    assert float(structure_loss(light, codes)) == pytest.approx(expected, abs=1e-6)


def test_a_reduced_picture_lacks_the_finest_scales():
    """Means of 2 x 2 pixels are what the metric makes its second scale of."""
    light, codes = planes(*pictures(352, 352))
    whole = fidelities(light, codes)
    half = [torch.nn.functional.avg_pool2d(image, 2) for image in (light, codes)]
    torch.testing.assert_close(fidelities(*half, halvings=1), whole[:, 1:], atol=1e-4, rtol=0)
    assert naturalness_loss(half[1], halvings=1) != naturalness_loss(half[1])


def test_the_border_counts_like_the_rest():
    light, codes = planes(*pictures(176, 176))
    spoiled = codes.clone()
    spoiled[..., :4, :] = 0.5
    lost = [float(fidelities(light, c, to_the_border=b)[0, 0]) for b in (False, True) for c in (codes, spoiled)]
    assert lost[2] - lost[3] > 1.5 * (lost[0] - lost[1])


def test_naturalness_is_that_of_the_metric():
    _, codes = pictures(height=187, width=198)  # whole blocks: the metric counts what sticks out
    (given,) = planes(codes)
    assert math.exp(-float(naturalness_loss(given))) == pytest.approx(naturalness(codes * 255.0), rel=0.01)


def test_darker_pictures_are_natural_where_they_shall_be_darker():
    grey = torch.full((1, 3, 176, 176), 115.94 / 255)
    darker = grey * 0.7
    assert naturalness_loss(darker, torch.tensor([0.7])) < naturalness_loss(darker)
    assert naturalness_loss(grey) < naturalness_loss(darker)


@pytest.mark.parametrize("light", ["picture", "black", "tiny", "half black", "one sun"])
@pytest.mark.parametrize("codes", ["picture", "white", "black", "half white", "beyond"])
def test_gradients_are_finite_and_bounded(light, codes):
    scene, photo = planes(*pictures(176, 176))
    x = torch.arange(176)
    lights = {
        "picture": scene,
        "black": scene * 0,
        "tiny": scene * 1e-12,
        "half black": scene * (x > 88),
        "one sun": scene * 1e-3 + 250.0 * ((x == 5) & (x[:, None] == 7)),
    }
    images = {
        "picture": photo,
        "white": photo * 0 + 1,
        "black": photo * 0,
        "half white": torch.where(x > 88, photo, 1.0),
        "beyond": photo * 4 - 2,
    }
    given = images[codes].clone().requires_grad_()
    loss = structure_loss(lights[light], given) + naturalness_loss(given)
    loss.backward()
    assert torch.isfinite(loss)
    assert 0 <= float(given.grad.abs().max()) < 1e3


def test_descending_makes_a_better_picture():
    """A few steps on the codes themselves raise the metric."""
    light, codes = pictures(176, 176)
    scene, given = planes(light, codes * 0.2)
    given.requires_grad_()
    adam = torch.optim.Adam([given], 0.02)
    before = tmqi(light, codes * 0.2 * 255.0).q
    for _ in range(15):
        adam.zero_grad()
        (structure_loss(scene, given) + 0.1 * naturalness_loss(given)).backward()
        adam.step()
    after = given.detach()[0].permute(1, 2, 0).clamp(0, 1).numpy()
    assert tmqi(light, after * 255.0).q > before + 0.02
