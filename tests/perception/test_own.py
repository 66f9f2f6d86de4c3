"""Patch contrast: PatchNCE by hand, what it rewards, where its gradient goes."""

import math

import pytest
import torch
from torch.nn import functional

from hdrcli.errors import UsageError
from hdrcli.networks import feedback_unet
from hdrcli.perception.own import Config, build, patch_nce


def unit(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def test_it_is_the_cross_entropy_of_cut():
    queries, keys, tau = unit(2, 5, 4), unit(2, 5, 4, seed=1), 0.3
    terms = []
    for q, k in zip(queries, keys, strict=True):
        for i in range(5):
            scores = [math.exp(float(q[i] @ k[j]) / tau) for j in range(5)]
            terms.append(-math.log(scores[i] / sum(scores)))
    assert float(patch_nce(queries, keys, tau)) == pytest.approx(sum(terms) / 10)


def test_limits():
    alike = torch.ones(1, 7, 4) / 2
    assert float(patch_nce(alike, alike, 0.07)) == pytest.approx(math.log(7), rel=1e-5)
    own = torch.eye(7)[None]
    assert float(patch_nce(own, own, 0.07)) == pytest.approx(math.log(1 + 6 * math.exp(-1 / 0.07)), abs=1e-5)


def features(batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, c, s, s, generator=generator) for c, s in ((4, 8), (6, 4))]


def setup(**options):
    torch.manual_seed(0)
    provider = build(Config(dimensions=8, **options))
    return provider, provider.projection([4, 6])


def test_an_output_with_the_inputs_structure_costs_less():
    provider, head = setup(tau=0.5)
    given = features()
    with torch.no_grad():
        for layer in head.parameters():
            layer *= 10  # untrained heads barely tell patches apart

        def cost(output):
            return float(provider.patch_contrast(given, output, projection=head, generator=torch.Generator().manual_seed(1)))

        assert cost(given) < cost([f + torch.randn_like(f) for f in given]) < cost([f.flip(3) for f in given])


def test_the_gradient_reaches_output_and_head_but_not_the_input():
    provider, head = setup()
    given, output = ([f.requires_grad_() for f in features(seed=s)] for s in (0, 1))
    provider.patch_contrast(given, output, projection=head).backward()
    assert all(f.grad is not None and f.grad.any() for f in output)
    assert all(f.grad is None or not f.grad.any() for f in given)
    assert all(p.grad is not None for p in head.parameters())


def test_places_are_drawn_from_the_generator():
    provider, head = setup(patches=4)
    given, output = features(), features(seed=1)

    def cost(seed):
        drawn = torch.Generator().manual_seed(seed)
        return float(provider.patch_contrast(given, output, projection=head, generator=drawn).detach())

    assert cost(3) == cost(3)
    assert len({cost(s) for s in range(5)}) > 1


def test_a_generators_own_features_will_do():
    """The encoder of a feedback U-Net, on input and output; training it lowers the loss."""
    torch.manual_seed(0)
    network = feedback_unet.build(feedback_unet.Config(width=4, iterations=1, gates=False))
    provider = build(Config(dimensions=8, patches=16))
    head = provider.projection([4, 8, 16])

    def encoded(codes):
        found, x = [], network.head(codes)
        for level in network.encoder:
            x = level(x)
            found.append(x)
            x = functional.max_pool2d(x, 2)
        return found

    codes = torch.rand(1, 3, 16, 16)
    optimizer = torch.optim.Adam([*network.parameters(), *head.parameters()], 1e-2)
    losses = []
    for _ in range(12):
        loss = provider.patch_contrast(
            encoded(codes), encoded(network(codes)), projection=head, generator=torch.Generator().manual_seed(0)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_what_does_not_match_is_refused():
    provider, head = setup()
    with pytest.raises(ValueError, match="differ"):
        provider.patch_contrast(features(), [f[..., :-1] for f in features()], projection=head)
    single = [f[..., :1, :1] for f in features()]
    with pytest.raises(ValueError, match="more than one place"):
        provider.patch_contrast(single, single, projection=head)
    with pytest.raises(ValueError, match="zip"):
        provider.patch_contrast(features(), features()[:1], projection=head)


@pytest.mark.parametrize(("name", "value"), [("patches", 1), ("dimensions", 0), ("tau", 0.0)])
def test_options_that_make_no_sense_are_refused(name, value):
    with pytest.raises(UsageError, match=f"{name}: .*use"):
        Config(**{name: value})
