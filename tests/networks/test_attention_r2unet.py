"""The subnetwork and the pipeline of HDR-cGAN: layers as counted by hand, the equations, gradients, masks."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hdrcli.errors import UsageError
from hdrcli.networks import attention_r2unet, exposure_segmenter, hdr_cgan
from hdrcli.networks.feedback_unet import srgb_to_linear, to_t
from hdrcli.perception import exposure


def count(network):
    return sum(p.numel() for p in network.parameters())


def subnetwork(**options):
    torch.manual_seed(0)
    return attention_r2unet.build(attention_r2unet.Config(**({"width": 2} | options)))


def pipeline(**options):
    torch.manual_seed(0)
    return hdr_cgan.build(hdr_cgan.Config(**({"width": 2} | options)))


SMALL = {"residual": True, "stem": 2, "norm": "none", "clip_map": True, "mask": "clip"}


class TestSubnetwork:
    def test_levels_go_from_64_features_to_1024(self):
        assert attention_r2unet.Config().widths == (64, 128, 256, 512, 1024)
        shapes = []
        network = subnetwork(width=4)
        for block in network.encoder:
            block.register_forward_hook(lambda module, given, made: shapes.append(tuple(made.shape[1:])))
        with torch.no_grad():
            assert network(torch.rand(1, 3, 32, 48)).shape == (1, 3, 32, 48)
        assert shapes == [(4 * 2**i, 32 // 2**i, 48 // 2**i) for i in range(5)]

    @pytest.mark.parametrize(("attention", "recurrence"), [(True, True), (False, True), (True, False)])
    def test_parameters_are_those_of_the_public_form(self, attention, recurrence):
        """Counted on paper. Batch norm makes biases before it idle, so they are left out: the public form has them."""
        network = subnetwork(width=6, attention=attention, recurrence=recurrence)
        w = [6 * 2**i for i in range(5)]

        def normed(i, o, size=3):
            return i * o * size**2 + 2 * o

        def block(i, o):
            return i * o + o + 2 * normed(o, o) if recurrence else normed(i, o) + normed(o, o)

        expected = sum(block(i, o) for i, o in zip([3, *w], w))
        expected += sum(normed(2 * o, o) + block(2 * o, o) for o in w[:-1])
        if attention:
            expected += sum(2 * normed(o, o // 2, 1) + normed(o // 2, 1, 1) for o in w[:-1])
        expected += w[0] * 3 + 3
        assert count(network) == expected

    def test_the_papers_size(self):
        """39.4 million each: what the public form counts, with three outputs, and without the biases that batch norm undoes."""
        network = attention_r2unet.build(attention_r2unet.Config())
        idle_biases = 2 * sum(64 * 2**i for i in range(5)) + sum(3 * o + o + 1 for o in (64, 128, 256, 512))
        assert count(network) == 39_442_925 - idle_biases + 2 * (64 + 1)

    def test_a_recurrent_unit_sees_its_own_result_twice(self):
        torch.manual_seed(0)
        unit = attention_r2unet.RecurrentUnit(3, 2, "none")
        x = torch.randn(1, 3, 8, 8)
        conv = unit.conv[0]

        def f(x):
            return functional.relu(functional.conv2d(x, conv.weight, conv.bias, padding=1))

        torch.testing.assert_close(unit(x), f(x + f(x + f(x))))
        block = attention_r2unet.RecurrentResidualBlock(3, 3, attention_r2unet.Config(norm="none"))
        entered = block.enter(x)
        torch.testing.assert_close(block(x), entered + block.units[1](block.units[0](entered)))

    def test_a_gate_scales_places_between_0_and_1(self):
        torch.manual_seed(0)
        gate = attention_r2unet.AttentionGate(4, "none")
        skip = torch.rand(2, 4, 6, 5) + 0.1
        scale = gate(torch.randn(2, 4, 6, 5), skip) / skip
        assert 0 < scale.min() < scale.max() < 1
        torch.testing.assert_close(scale.amax(1), scale.amin(1))

    @pytest.mark.parametrize("norm", ["batch", "none"])
    @pytest.mark.parametrize("variant", [{}, {"attention": False}, {"recurrence": False}])
    def test_gradients_reach_every_parameter(self, norm, variant):
        network = subnetwork(width=4, norm=norm, **variant)
        network(torch.rand(2, 3, 32, 32)).square().sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in network.parameters())

    def test_weights_are_normal_with_the_deviation_of_pix2pix(self):
        network = subnetwork(width=16)
        weights = torch.cat([m.weight.flatten() for m in network.modules() if isinstance(m, nn.Conv2d)])
        assert float(weights.detach().std()) == pytest.approx(0.02, rel=0.02)

    def test_without_norm_the_signal_keeps_its_size(self):
        network = subnetwork(width=16, norm="none")
        with torch.no_grad():
            out = network(torch.rand(2, 3, 64, 64))
        assert 0.05 < float(out.std()) < 20

    @pytest.mark.parametrize("name", ["width", "inputs", "outputs", "steps"])
    def test_sizes_that_no_network_has_are_refused(self, name):
        with pytest.raises(UsageError, match=rf"network\.{name}"):
            attention_r2unet.Config(**{name: 0})


class TestPipeline:
    def test_the_equations(self):
        network = pipeline().eval()
        parts = network.parts
        ldr = torch.rand(1, 3, 32, 32)
        ldr[..., :8] = 1
        unit = hdr_cgan.Config().peak

        def light(part, given):
            return functional.softplus(part(given)) * unit

        with torch.no_grad():
            mask = network.mask(ldr)
            e = light(parts["linearize"], ldr)
            m = mask * light(parts["correct"], to_t(e, unit)) + (1 - mask) * e
            h = light(parts["refine"], to_t(m, unit))
            for made, expected in zip(network.stages(ldr), (e, m, h)):
                torch.testing.assert_close(made, to_t(expected, unit), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(network(ldr), network.stages(ldr)[2])

    def test_c_matters_where_the_mask_is_alone(self):
        network = pipeline(refinement=False).eval()
        assert set(network.parts) == {"linearize", "correct"}
        ldr = torch.full((1, 3, 32, 32), 0.5)
        ldr[..., :16] = 1
        with torch.no_grad():
            linear, corrected, made = network.stages(ldr)
        torch.testing.assert_close(made[..., 16:], linear[..., 16:], rtol=1e-5, atol=1e-6)
        assert (corrected - linear)[..., :16].abs().min() > 0

    def test_untrained_it_gives_middle_grey_or_the_linearised_photo(self):
        ldr = torch.rand(1, 3, 32, 32)
        grey = float(to_t(torch.tensor(0.18), 256.0))
        with torch.no_grad():
            assert float((pipeline(width=8).eval()(ldr) - grey).abs().mean()) < 0.02
            made = pipeline(width=8, **SMALL)(ldr, torch.rand(1, 3, 32, 32))
        linear = to_t(srgb_to_linear(ldr), 256.0)
        assert 0 < float((made - linear).abs().mean()) < 0.05

    def test_light_is_never_negative(self):
        network = pipeline().eval()
        for part in network.parts.values():
            nn.init.constant_(part.last.bias, -50.0)
        with torch.no_grad():
            assert network(torch.rand(1, 3, 32, 32)).min() >= 0

    @pytest.mark.parametrize("options", [{}, {"norm": "none"}, SMALL, {"refinement": False}])
    def test_gradients_reach_every_parameter(self, options):
        network = pipeline(width=4, **options)
        ldr, clip = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
        ldr[..., :32] = 1
        network(ldr, clip).square().sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in network.parameters())

    def test_multiples(self):
        assert hdr_cgan.Config().multiple == 16
        assert hdr_cgan.Config(stem=4).multiple == 64
        with torch.no_grad():
            assert pipeline(**SMALL)(torch.rand(1, 3, 32, 96), torch.rand(1, 3, 32, 96)).shape == (1, 3, 32, 96)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"stem": 3}, "stem"),
            ({"peak": 1.0}, "peak"),
            ({"mask_from": 1.0}, "mask_from"),
            ({"width": 1}, "width"),
            ({"segmenter_width": 0}, "width"),
        ],
    )
    def test_what_no_network_can_be_is_refused(self, options, words):
        with pytest.raises(UsageError, match=words):
            hdr_cgan.Config(**options)

    def test_a_clip_map_is_asked_for(self):
        with pytest.raises(ValueError, match="clip map"):
            pipeline(**SMALL)(torch.rand(1, 3, 32, 32))


class TestMasks:
    codes = torch.from_numpy(np.random.default_rng(0).uniform(0.8, 1, (2, 3, 32, 32)).astype(np.float32))

    def test_exposure_is_the_guides(self):
        expected = exposure.build(exposure.Config()).maps(self.codes).over
        torch.testing.assert_close(pipeline().mask(self.codes), expected)

    def test_a_threshold(self):
        mask = pipeline(mask="threshold", mask_from=0.97).mask(self.codes)
        assert torch.equal(mask, (self.codes.amax(1, keepdim=True) >= 0.97).float())

    def test_the_clip_map(self):
        clip = torch.rand(2, 3, 32, 32)
        assert torch.equal(pipeline(**SMALL).mask(self.codes, clip), clip.amax(1, keepdim=True))

    def test_a_segmenter_inside_is_kept_but_never_trained(self):
        network = pipeline(mask="segmentation", segmenter_width=4).train()
        names = {name for name, _ in network.named_parameters()}
        assert not any("segmenter" in name for name in names)
        assert any(name.startswith("segmenter.") for name in network.state_dict())
        assert not network.segmenter.training
        alone = exposure_segmenter.build(exposure_segmenter.Config(width=4))
        network.segmenter.load_state_dict(alone.state_dict())
        mask = network.mask(self.codes)
        assert not mask.requires_grad
        torch.testing.assert_close(mask, alone(self.codes).softmax(1)[:, :1].detach())
