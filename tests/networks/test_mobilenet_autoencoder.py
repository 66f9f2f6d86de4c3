"""MobileNetV3-Large by torchvision's names; the autoencoder on it: sizes, what its parts do, and that every part takes part."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from hdrcli.color import Transfer, decode
from hdrcli.errors import MissingModel, ModelError, UsageError
from hdrcli.inference import generator
from hdrcli.networks import mobilenet_autoencoder as hybrid
from hdrcli.networks import mobilenetv3
from hdrcli.networks._backbone import normalised
from hdrcli.networks.mobilenet_autoencoder import Config, InstanceNorm, Upsampling, build
from hdrcli.training.export import Export, export_onnx

# names and shapes of torchvision's published file, written down by hand from its definition
SHAPES = json.loads((Path(__file__).parents[1] / "data" / "mobilenet_v3_large.json").read_text(encoding="utf-8"))
TINY = Config(width=4)
VARIANTS = {
    "authors'": TINY,
    "resize": replace(TINY, upsampling="resize"),
    "residual, clip map, no norm": replace(TINY, residual=True, clip_map=True, norm="none"),
    "min-max": replace(TINY, input="minmax", target="minmax_log"),
}


def published(seed=0):
    """A state dict with the published names and shapes: seeded noise, variances above 0."""
    rs = np.random.RandomState(seed)
    state = {}
    for name, shape in SHAPES.items():
        values = rs.standard_normal(shape) * (0.5 / max(1, math.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
            continue
        shift = 1.0 if name.endswith(("running_var", "1.weight")) and len(shape) == 1 else 0.0
        state[name] = torch.from_numpy((np.abs(values) + shift if shift else values).astype(np.float32))
    return state


def awake(config, seed=0):
    """A network whose last layer doesn't start at zero."""
    torch.manual_seed(seed)
    network = build(config)
    nn.init.normal_(network.out.weight, std=0.1)
    return network


def inputs(config, count=2, height=32, width=64, seed=0):
    torch.manual_seed(seed)
    given = [torch.rand(count, 3, height, width) for _ in range(2)]
    return given if config.clip_map else given[:1]


def count(module):
    return sum(p.numel() for p in module.parameters())


class TestEncoder:
    def test_parameters_have_torchvisions_names_and_shapes(self):
        with torch.device("meta"):
            state = mobilenetv3.MobileNetV3Large().state_dict()
        expected = {name: shape for name, shape in SHAPES.items() if name.startswith("features.")}
        assert {name: list(tensor.shape) for name, tensor in state.items()} == expected

    def test_the_list_counts_what_torchvision_counts(self):
        learned = {n: math.prod(s) for n, s in SHAPES.items() if "running" not in n and "tracked" not in n}
        assert sum(learned.values()) == 5_483_032
        assert sum(v for n, v in learned.items() if n.startswith("features.")) == 2_971_952

    def test_taps_are_the_last_of_each_size(self):
        with torch.device("meta"):
            network = mobilenetv3.MobileNetV3Large()
            found = network(torch.zeros(1, 3, 224, 224))
            shapes = [tuple(t.shape[1:]) for t in found.values()]
        assert shapes == [(16, 112, 112), (24, 56, 56), (40, 28, 28), (112, 14, 14), (960, 7, 7)]
        assert network.widths == (16, 24, 40, 112, 960)

    def test_a_published_file_loads_as_it_is(self, tmp_path):
        state = published()
        torch.save(state, tmp_path / "weights.pth")
        network = mobilenetv3.load(tmp_path / "weights.pth")
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, state[name]), name

    def test_the_first_layers_are_what_numpy_computes(self, tmp_path):
        """Convolution of stride 2, batch norm with its epsilon of 0.001, hard swish, and the first block's residual."""
        state = published()
        network = mobilenetv3.MobileNetV3Large().eval()
        network.load_state_dict({n: v for n, v in state.items() if n.startswith("features.")})
        x = np.random.RandomState(1).rand(3, 32, 36)

        def conv(x, prefix, stride, depthwise):
            w = state[f"{prefix}.0.weight"].numpy().astype(np.float64)
            p = w.shape[-1] // 2
            padded = np.pad(x, ((0, 0), (p, p), (p, p)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
            y = np.einsum("chwij,cij->chw", windows, w[:, 0]) if depthwise else np.einsum("chwij,ocij->ohw", windows, w)
            gain, bias, mean, variance = (
                state[f"{prefix}.1.{n}"].numpy().astype(np.float64)[:, None, None]
                for n in ("weight", "bias", "running_mean", "running_var")
            )
            return (y - mean) / np.sqrt(variance + 0.001) * gain + bias

        first = conv(x, "features.0", 2, False)
        first = first * np.clip(first + 3, 0, 6) / 6
        block = conv(np.maximum(conv(first, "features.1.block.0", 1, True), 0), "features.1.block.1", 1, False)
        with torch.no_grad():
            tap = next(iter(network(torch.from_numpy(x[None].astype(np.float32)), ["stride2"]).values()))
        np.testing.assert_allclose(tap[0].numpy(), first + block, rtol=1e-4, atol=1e-5)

    def test_squeeze_and_excitation_is_what_numpy_computes(self):
        torch.manual_seed(0)
        layer, x = mobilenetv3.SqueezeExcitation(16), torch.randn(2, 16, 5, 3)
        w1, b1, w2, b2 = (v.detach().numpy().squeeze() for v in layer.parameters())
        hidden = np.maximum(x.numpy().mean((2, 3)) @ w1.T + b1, 0)
        scale = np.clip((hidden @ w2.T + b2) / 6 + 0.5, 0, 1)
        np.testing.assert_allclose(layer(x).detach().numpy(), x.numpy() * scale[:, :, None, None], atol=1e-6)

    def test_missing_and_foreign_files_are_named(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
        with pytest.raises(MissingModel, match=r"mobilenet_v3_large-8738ca79\.pth"):
            mobilenetv3.load(tmp_path)
        torch.save({"features.0.0.weight": torch.zeros(16, 3, 3, 3)}, tmp_path / "other.pth")
        with pytest.raises(ModelError, match="is no MobileNetV3Large"):
            mobilenetv3.load(tmp_path / "other.pth")


class TestUpsampling:
    x = torch.randn(2, 8, 5, 7, generator=torch.Generator().manual_seed(0))

    def test_icnr_starts_as_a_convolution_and_nearest_resize(self):
        """Aitken et al. 2017: no mosaic at the start, whatever comes in."""
        layer = Upsampling(8, 6, Config())
        small = functional.conv2d(self.x, layer.conv.weight[::4], layer.conv.bias[::4], padding=1)
        torch.testing.assert_close(layer(self.x), functional.interpolate(small, scale_factor=2, mode="nearest"))

    def test_without_icnr_it_starts_with_a_mosaic(self):
        torch.manual_seed(0)
        y = Upsampling(8, 6, Config(icnr=False))(torch.ones(1, 8, 8, 8))[..., 4:12, 4:12].detach()  # where no border reaches
        assert float((y[..., ::2, ::2] - y[..., 1::2, ::2]).abs().mean()) > 0.05
        torch.testing.assert_close(y[..., ::2, ::2], y[..., :1, :1].expand_as(y[..., ::2, ::2]))  # the same in every cell

    def test_resize_can_have_no_mosaic_of_a_flat_input(self):
        layer = Upsampling(8, 6, Config(upsampling="resize"))
        nn.init.normal_(layer.conv.weight)
        y = layer(torch.ones(1, 8, 8, 8))[..., 2:-2, 2:-2]
        torch.testing.assert_close(y, y[..., :1, :1].expand_as(y))

    @pytest.mark.parametrize("upsampling", ["pixelshuffle", "resize"])
    def test_twice_the_size(self, upsampling):
        assert Upsampling(8, 6, Config(upsampling=upsampling))(self.x).shape == (2, 6, 10, 14)


class TestInstanceNorm:
    def test_is_torchs(self):
        torch.manual_seed(0)
        layer, x = InstanceNorm(5), torch.randn(3, 5, 4, 7) * 3 + 100
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
        torch.testing.assert_close(
            layer(x), functional.instance_norm(x, weight=layer.weight, bias=layer.bias, eps=1e-5), rtol=1e-4, atol=1e-4
        )

    def test_a_picture_of_one_cell_gives_the_offset(self):
        layer = InstanceNorm(2)
        nn.init.constant_(layer.bias, 0.5)
        assert layer.train()(torch.tensor([[[[3.0]], [[-4.0]]]])).flatten().tolist() == [0.5, 0.5]


class TestAutoencoder:
    def test_parameters_at_the_default_size_by_hand(self):
        def conv(inputs_, outputs):
            return inputs_ * outputs * 9 + outputs

        def block(inputs_, outputs):
            return conv(inputs_, outputs) + conv(outputs, outputs) + 4 * outputs  # two instance norms

        widths, skips = (256, 128, 64, 32, 32), (112, 40, 24, 16, 0)
        expected = 2_971_952 + block(960, 512)
        for inputs_, out, skip in zip((512, *widths), widths, skips):
            expected += conv(inputs_, 4 * out) + block(out + skip, out)
        with torch.device("meta"):
            assert count(build(Config())) == expected + conv(32, 3) == 17_975_443

    def test_each_option_adds_its_part_and_nothing_else(self):
        with torch.device("meta"):
            plain = count(build(TINY))
            norms = 2 * 2 * (64 + 32 + 16 + 8 + 4 + 4)
            assert count(build(replace(TINY, norm="none"))) == plain - norms
            clip = 3 * 9 * (64 + 32 + 16 + 8 + 4 + 4)
            assert count(build(replace(TINY, clip_map=True))) == plain + clip
            assert count(build(replace(TINY, icnr=False))) == count(build(replace(TINY, residual=True))) == plain
            ups = sum((i * 9 + 1) * 3 * o for i, o in ((64, 32), (32, 16), (16, 8), (8, 4), (4, 4)))
            assert count(build(replace(TINY, upsampling="resize"))) == plain - ups

    @pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
    def test_gradients_reach_every_parameter_and_sizes_stay(self, config):
        network = awake(config).train()
        given = inputs(config)
        t = network(*given)
        assert (t.shape, t.dtype) == (given[0].shape, torch.float32)
        t.square().mean().backward()
        without = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
        assert without == []
        # offsets apart: before a norm they do nothing
        assert [n for n, p in network.named_parameters() if p.ndim == 4 and not p.grad.any()] == []

    def test_taps_of_the_decoder_double_in_size(self):
        levels, said = awake(TINY).eval().upsampled(*inputs(TINY))
        assert [tuple(level.shape[1:]) for level in levels] == [
            (32, 2, 4), (16, 4, 8), (8, 8, 16), (4, 16, 32), (4, 32, 64)
        ]  # fmt: skip
        assert said.abs().max() <= 1

    def test_with_a_residual_it_starts_as_the_linearised_input(self):
        config = VARIANTS["residual, clip map, no norm"]
        given = inputs(config)
        with torch.no_grad():
            t = build(config).eval()(*given).numpy()
        linear = decode(given[0].numpy().astype(np.float64), Transfer.SRGB)
        np.testing.assert_allclose(t, np.log1p(5000 * linear / config.peak) / np.log1p(5000), atol=1e-6)

    def test_without_one_it_stays_in_0_to_1(self):
        network = awake(TINY).eval()
        nn.init.normal_(network.out.weight, std=100)
        with torch.no_grad():
            t = network(*inputs(TINY))
        assert 0 <= float(t.min()) < 0.01
        assert 0.99 < float(t.max()) <= 1

    def test_a_clip_map_makes_a_difference_only_where_it_is_wanted(self):
        config = replace(TINY, clip_map=True)
        network, (ldr, clip) = awake(config).eval(), inputs(config)
        with torch.no_grad():
            assert not torch.equal(network(ldr, clip), network(ldr, 1 - clip))
            plain = awake(TINY).eval()
            assert torch.equal(plain(ldr), plain(ldr, clip))
        with pytest.raises(ValueError, match="needs a clip map"):
            network(ldr)

    def test_instance_norm_knows_no_brightness_and_a_residual_does(self):
        """docs/hybrid.md: grey pictures of any brightness get one answer, apart from the borders."""
        greys = torch.tensor([0.2, 0.8]).view(2, 1, 1, 1).expand(2, 3, 256, 256).contiguous()
        said = {}
        for name, config in (("instance", TINY), ("residual", replace(TINY, residual=True))):
            network = awake(config).eval()
            for module in network.modules():
                if isinstance(module, nn.Conv2d):
                    module.padding_mode = "circular"  # no borders
                    module._reversed_padding_repeated_twice = [p for p in reversed(module.padding) for _ in (0, 1)]
            with torch.no_grad():
                dark, bright = network(greys)
            said[name] = float((bright - dark).abs().max())
        assert said["instance"] < 1e-3
        linear = decode(np.array([0.2, 0.8]), Transfer.SRGB).astype(np.float32)
        assert said["residual"] == pytest.approx(float(np.diff(generator.to_t(linear, 256.0))[0]), abs=1e-3)

    def test_freezing_holds_weights_and_running_statistics(self):
        network = awake(TINY)
        network.freeze()
        before = {n: v.clone() for n, v in network.encoder.state_dict().items()}
        network.train()
        assert network.training
        assert not network.encoder.training
        network.requires_grad_(True)  # as the loop does
        adam = torch.optim.Adam(network.learned(), 0.1)
        network(*inputs(TINY)).mean().backward()
        adam.step()
        assert all(p.grad is None for p in network.encoder.parameters())
        for name, value in network.encoder.state_dict().items():
            assert torch.equal(value, before[name]), name
        assert count(network) == count(network.encoder) + sum(p.numel() for p in network.learned())

    def test_inputs_are_normalised_as_told(self):
        codes = torch.rand(2, 3, 32, 32) * 0.5 + 0.2
        seen = {}
        for name in ("imagenet", "minmax"):
            network = awake(replace(TINY, input=name)).eval()
            network.encoder.register_forward_pre_hook(lambda *_: pytest.fail("stages, not forward"))
            network.encoder.features[0].register_forward_pre_hook(lambda _, args, n=name: seen.update({n: args[0]}))
            with torch.no_grad():
                network(codes)
        torch.testing.assert_close(seen["imagenet"], normalised(codes))
        each = [(c - c.min() + 1e-6) / c.max() for c in codes]
        torch.testing.assert_close(seen["minmax"], normalised(torch.stack(each)))

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"width": 3}, "network.width"),
            ({"peak": 1.0}, "network.peak"),
            ({"brightest": 0.0}, "network.brightest"),
            ({"residual": True, "target": "minmax_log"}, "network.residual: a residual has no place"),
        ],
    )
    def test_options_that_make_no_sense_are_refused(self, options, words):
        with pytest.raises(UsageError, match=words):
            build(Config(**options))

    def test_it_trains_in_bfloat16(self):
        network = awake(TINY).train()
        adam = torch.optim.Adam(network.parameters(), 1e-3)
        given = inputs(TINY)
        for _ in range(3):
            with torch.autocast("cpu", torch.bfloat16):
                loss = (network(*given) - given[0]).abs().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            assert torch.isfinite(loss)
        assert all(torch.isfinite(p).all() for p in network.parameters())


class TestTargets:
    light = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) ** 3 * 40 + 0.01

    def test_mu_law_is_the_t_domain(self):
        signal = hybrid.signal_of(self.light, Config())
        np.testing.assert_allclose(signal.numpy(), generator.to_t(self.light.numpy(), 256.0), atol=1e-6)
        assert torch.equal(hybrid.signal_as_t(signal, Config()), signal)

    def test_min_max_log_is_the_authors_equation(self):
        signal = hybrid.signal_of(self.light, Config(target="minmax_log")).numpy()
        for found, y in zip(signal, self.light.numpy()):
            v = np.log(1 + y.astype(np.float64))
            np.testing.assert_allclose(found, (v - v.min() + 1e-6) / v.max(), atol=1e-6)

    def test_min_max_log_forgets_the_scale_and_brightest_states_one(self):
        config = Config(target="minmax_log", brightest=16.0)
        t = hybrid.signal_as_t(torch.tensor([0.0, 0.5, 1.0]), config).numpy()
        np.testing.assert_allclose(generator.from_t(t, config.peak), [0, np.sqrt(17) - 1, 16], rtol=1e-4, atol=1e-6)

    def test_black_is_finite(self):
        assert torch.isfinite(hybrid.signal_of(torch.zeros(1, 3, 4, 4), Config(target="minmax_log"))).all()


@pytest.mark.slow
@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_onnx_agrees_with_torch(config, tmp_path):
    names = ("ldr", "clip") if config.clip_map else ("ldr",)
    export = Export.of(
        awake(config).eval(), architecture="mobilenet_autoencoder", file="g_y.onnx", inputs=names, working_size=96
    )
    assert export_onnx(export, tmp_path / "g_y.onnx") <= 1e-4
