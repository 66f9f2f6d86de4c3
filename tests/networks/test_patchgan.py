"""The PatchGAN: its form in the paper, what each logit sees, and that every weight learns."""

import pytest
import torch
from torch import nn

from hdrcli.errors import UsageError
from hdrcli.networks.patchgan import RECEPTIVE_FIELD, SMALLEST, Config, build


def convolutions(network):
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]


def test_the_papers_five_convolutions():
    layers = convolutions(build(Config()))
    assert [(c.in_channels, c.out_channels) for c in layers] == [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    assert [c.stride[0] for c in layers] == [2, 2, 2, 1, 1]
    assert {c.kernel_size for c in layers} == {(4, 4)}


def test_parameters_at_the_papers_size():
    pairs = [(3, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    weights = sum(i * o * 16 for i, o in pairs)
    assert sum(p.numel() for p in build(Config()).parameters()) == weights + 64 + 1 + 2 * (128 + 256 + 512)


def test_what_stands_between_them():
    kinds = [type(m).__name__ for m in build(Config(width=2)).layers]
    middle = ["Conv2d", "BatchNorm2d", "LeakyReLU"]
    assert kinds == ["Conv2d", "LeakyReLU", *middle * 3, "Conv2d"]
    assert {m.negative_slope for m in build(Config(width=2)).modules() if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert not any(isinstance(m, nn.BatchNorm2d) for m in build(Config(width=2, norm=False)).modules())


def test_each_logit_sees_70_pixels():
    torch.manual_seed(0)
    network = build(Config(width=2, norm=False)).double()
    for conv in convolutions(network):
        nn.init.uniform_(conv.weight, 0.1, 1)  # nothing cancels, so that every pixel that is seen shows
    image = torch.rand(1, 3, 160, 160, dtype=torch.float64, requires_grad=True)
    logits = network(image)
    logits[0, 0, 8, 9].backward()
    rows, columns = (image.grad[0].abs().sum(0).sum(axis).nonzero().flatten() for axis in (1, 0))
    assert len(rows) == len(columns) == RECEPTIVE_FIELD == 70
    assert int(rows[-1] - rows[0]) == int(columns[-1] - columns[0]) == 69


@pytest.mark.parametrize(("height", "width"), [(24, 24), (64, 96), (70, 71), (511, 33)])
def test_one_logit_for_eight_pixels(height, width):
    with torch.no_grad():
        logits = build(Config(width=1)).eval()(torch.rand(2, 3, height, width))
    assert logits.shape == (2, 1, height // 8 - 2, width // 8 - 2)


def test_logits_take_both_signs_and_any_size():
    torch.manual_seed(0)
    network = build(Config(width=2)).eval()
    with torch.no_grad():
        logits = network(torch.randn(2, 3, 64, 64) * 1e6)
    assert logits.min() < 0 < logits.max()
    assert logits.abs().max() > 1  # no sigmoid


def test_gradients_reach_every_parameter_and_the_image():
    torch.manual_seed(0)
    network = build(Config(width=2))
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    network(image).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
    assert image.grad.any()


def test_too_small_images_are_named():
    with pytest.raises(ValueError, match="24 x 24"):
        build(Config(width=1))(torch.rand(1, 3, SMALLEST, SMALLEST - 1))


@pytest.mark.parametrize("name", ["width", "inputs"])
def test_sizes_that_no_network_has_are_refused(name):
    with pytest.raises(UsageError, match=rf"discriminator\.{name}.*use 1"):
        Config(**{name: 0})
