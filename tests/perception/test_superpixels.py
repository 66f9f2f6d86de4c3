"""Areas of like colour: what they are, what their overlap rewards, and its gradient."""

import pytest
import torch

from hdrcli.errors import UsageError
from hdrcli.perception import mean_soft_iou
from hdrcli.perception.superpixels import Config, build, standardized

SIDE = 48


def halves(at=SIDE // 2, low=(0.2, 0.3, 0.1), high=(0.8, 0.7, 0.9)):
    """Two colours with a border at column ``at``."""
    image = torch.tensor(low).view(1, 3, 1, 1).repeat(1, 1, SIDE, SIDE)
    image[..., at:] = torch.tensor(high).view(3, 1, 1)
    return image


def iou(ldr, output, **options):
    return float(build(Config(seeds=3, **options)).soft_iou(ldr, output))


def test_soft_iou_is_iou_for_hard_masks_and_one_for_equal_ones():
    a, b = torch.zeros(1, 2, 2, 4), torch.zeros(1, 2, 2, 4)
    a[0, 0, :, :3], b[0, 0, :, 1:] = 1, 1  # 4 of 8 in common
    a[0, 1, 0], b[0, 1, 1] = 1, 1  # nothing in common
    assert float(mean_soft_iou(a, b)) == pytest.approx((0.5 + 0) / 2)
    assert float(mean_soft_iou(a, b, torch.tensor([[1.0, 0.0]]))) == pytest.approx(0.5)
    soft = torch.rand(2, 3, 4, 4)
    assert mean_soft_iou(soft, soft).tolist() == pytest.approx([1, 1])


def test_masks_follow_colours_and_sum_to_one():
    masks = build(Config(seeds=3, colour=8.0)).masks(halves(at=20))
    assert masks.shape == (1, 9, SIDE, SIDE)
    torch.testing.assert_close(masks.sum(1), torch.ones(1, SIDE, SIDE), rtol=0, atol=1e-5)
    left = masks[..., :20].sum((2, 3)) / masks.sum((2, 3))
    assert ((left < 0.1) | (left > 0.9)).all()  # no area lies on both sides of the border


def test_equal_images_overlap_whole():
    torch.manual_seed(0)
    image = torch.rand(2, 3, 30, 50)
    assert build(Config()).soft_iou(image, image).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("change", [lambda v: 0.5 * v + 0.3, lambda v: 0.3 * v])
def test_other_tones_are_the_same_areas(change):
    ldr = (halves() + 0.05 * torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert iou(ldr, change(ldr)) > 0.98


def test_a_border_that_moves_or_goes_costs_more_the_further_it_is():
    ldr = halves()
    scores = [iou(ldr, halves(at=SIDE // 2 + shift)) for shift in (0, 2, 6, 12)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1)
    assert scores[3] < 0.8
    assert iou(ldr, torch.full_like(ldr, 0.5)) < 0.9  # places alone still tell much of so simple a picture


def test_the_gradient_reaches_the_output_alone_and_raises_the_overlap():
    torch.manual_seed(0)
    cells = torch.rand(1, 3, 6, 6)
    ldr = torch.nn.functional.interpolate(cells, size=(SIDE, SIDE)).requires_grad_()
    output = torch.nn.functional.interpolate(cells, size=(SIDE, SIDE), mode="bilinear").requires_grad_()
    provider, optimizer, scores = build(Config()), torch.optim.Adam([output], 0.01), []
    for _ in range(12):
        score = provider.soft_iou(ldr, output).mean()
        scores.append(score.item())
        optimizer.zero_grad()
        (1 - score).backward()
        assert torch.isfinite(output.grad).all()
        optimizer.step()
    assert ldr.grad is None
    assert scores[-1] > scores[0] + 0.1


def by_distances(config, ldr, output):
    """Soft IoU as it is defined: softmax of minus distances in colour and place, areas that settle in the LDR."""
    size, seeds = ldr.shape[-2:], config.seeds
    y, x = ((torch.arange(n, dtype=ldr.dtype) + 0.5) / n * seeds for n in size)
    places = torch.stack(torch.meshgrid(y, x, indexing="ij")).flatten(1).T[None].expand(len(ldr), -1, -1)
    colours, made = (standardized(image).flatten(2).transpose(1, 2) for image in (ldr, output))

    def mean(masks, values):
        return masks.transpose(1, 2) @ values / masks.sum(1)[..., None]

    def choose(values, centres, at):
        return torch.softmax(
            -config.sharpness * (config.colour * torch.cdist(values, centres) ** 2 + torch.cdist(places, at) ** 2), 2
        )

    grid = torch.cartesian_prod(*[torch.arange(seeds, dtype=ldr.dtype) + 0.5] * 2)[None].expand(len(ldr), -1, -1)
    areas = torch.softmax(-4 * torch.cdist(places, grid) ** 2, 2)
    for _ in range(config.rounds):
        areas = choose(colours, mean(areas, colours), mean(areas, places))
    reference, masks = (choose(values, mean(areas, values), mean(areas, places)) for values in (colours, made))
    iou = torch.minimum(reference, masks).sum(1) / torch.maximum(reference, masks).sum(1)
    weight = reference.sum(1).clamp(max=1)
    return (iou * weight).sum(1) / weight.sum(1)


@pytest.mark.parametrize("rounds", [0, 3])
def test_it_is_the_overlap_of_areas_by_distance(rounds):
    torch.manual_seed(0)
    config = Config(seeds=3, rounds=rounds)
    cells = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    ldr = torch.nn.functional.interpolate(cells, size=(16, 20), mode="bilinear")
    found = []
    for overlap in (build(config).soft_iou, lambda a, b: by_distances(config, a, b)):
        output = (ldr**0.7 + 0.05 * torch.rand(ldr.shape, generator=torch.Generator().manual_seed(1))).requires_grad_()
        score = overlap(ldr, output)
        score.sum().backward()
        found.append((score.detach(), output.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_what_it_knows_of_the_ldr_beforehand_changes_nothing():
    torch.manual_seed(0)
    provider, ldr, output = build(Config(seeds=3)), torch.rand(2, 3, 20, 24), torch.rand(2, 3, 20, 24)
    known = torch.cat([provider.areas(image) for image in ldr.split(1)])
    assert known.shape == (2, 2, 9, 6)
    torch.testing.assert_close(provider.soft_iou(ldr, output, known), provider.soft_iou(ldr, output))


def test_it_reaches_a_generator():
    torch.manual_seed(0)
    generator = torch.nn.Conv2d(3, 3, 3, padding=1)
    ldr = halves()
    (1 - build(Config(seeds=3)).soft_iou(ldr, generator(ldr)).mean()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in generator.parameters())
    assert generator.weight.grad.any()


def test_gradient_is_right():
    torch.manual_seed(0)
    provider = build(Config(seeds=2, side=16))
    ldr, output = (torch.rand(1, 3, 6, 7, dtype=torch.float64) for _ in range(2))
    assert torch.autograd.gradcheck(lambda v: provider.soft_iou(ldr, v), output.requires_grad_(), atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (64, 64)])
def test_any_size_and_flat_images(size):
    flat = torch.full((1, 3, *size), 0.5, requires_grad=True)
    value = build(Config()).soft_iou(torch.rand(1, 3, *size), flat)
    value.sum().backward()
    assert 0 <= float(value.detach()) <= 1
    assert torch.isfinite(flat.grad).all()


def test_standardized_colours():
    torch.manual_seed(0)
    image = torch.rand(2, 3, 8, 8)
    out = standardized(image)
    assert out.mean((2, 3)).abs().max() < 1e-6
    torch.testing.assert_close(out, standardized(image * 0.7 + 0.2), rtol=0, atol=5e-3)
    assert not standardized(torch.full((1, 3, 4, 4), 0.25)).any()


@pytest.mark.parametrize(("name", "value"), [("seeds", 1), ("side", 8), ("rounds", -1), ("colour", 0.0), ("sharpness", -1.0)])
def test_options_that_make_no_sense_are_refused(name, value):
    with pytest.raises(UsageError, match=f"{name}: .*use"):
        Config(**{name: value})
