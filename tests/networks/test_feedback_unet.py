"""The feedback U-Net: its size in the paper, what it does untrained, and that every part takes part."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hdrcli.color import Transfer, decode, encode
from hdrcli.errors import UsageError
from hdrcli.inference import generator, working
from hdrcli.networks import feedback_unet
from hdrcli.networks.feedback_unet import Config, DilatedDenseBlock, FeedbackBlock, LstmFeedbackBlock, build

PAPER = Config()
SMALL = Config(width=4, iterations=2)
PLAIN = Config(width=4, iterations=1, gates=False)
VARIANTS = {
    "paper, small": SMALL,
    "plain": PLAIN,
    "embedding": replace(SMALL, embedding=True),
    "stem 2": replace(PLAIN, stem=2),
    "stem 4, clip map, context, no norm": replace(PLAIN, stem=4, clip_map=True, context=True, norm="none"),
    "ConvLSTM": replace(SMALL, cell="convlstm"),
    "G_X": replace(SMALL, direction="tonemap"),
    "G_X, toned": replace(PLAIN, direction="tonemap", toned="log", padding="replicate"),
}


def inputs(config, count=2, side=1, seed=0):
    """Everything a network of this form may want, ``side`` multiples wide."""
    torch.manual_seed(seed)
    height, width = config.multiple * side, config.multiple * (side + 1)
    return {
        "ldr": torch.rand(count, 3, height, width),
        "clip": torch.rand(count, 3, height, width) if config.clip_map else None,
        "maps": torch.rand(count, 3, height, width) if config.gates else None,
        "embeddings": torch.randn(count, 2, 512) if config.embedding else None,
    }


def awake(config, seed=0):
    """A network whose last layer and gates don't start at zero."""
    torch.manual_seed(seed)
    network = build(config)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_at_the_papers_size():
    assert count(build(PAPER)) == 17_076_227


def test_parameters_of_the_feedback_block_by_hand():
    def conv(inputs_, outputs, side):
        return inputs_ * outputs * side**2 + outputs

    dense = conv(512, 128, 1) + sum(conv(128 * i, 128, 3) for i in (1, 2, 3, 4)) + conv(640, 512, 1)
    assert count(DilatedDenseBlock(512)) == dense
    assert count(FeedbackBlock(512)) == conv(1024, 512, 1) + 3 * dense + conv(512, 512, 3)


def test_dense_convs_are_dilated_by_three():
    """Four of them in a row reach twelve pixels far, and see every third."""
    torch.manual_seed(0)
    x = torch.randn(1, 16, 33, 33, requires_grad=True)
    DilatedDenseBlock(16)(x)[0, :, 16, 16].sum().backward()
    y, _ = torch.nonzero(x.grad[0].abs().sum(0), as_tuple=True)
    assert {int(v) for v in y.unique()} <= set(range(4, 29, 3))
    assert (int(y.min()), int(y.max())) == (4, 28)


def test_one_iteration_without_gates_is_a_plain_unet():
    names = {name.partition(".")[0] for name, _ in build(PLAIN).named_parameters()}
    assert names == {"head", "encoder", "bottleneck", "up", "decoder", "tail"}


def test_each_option_adds_its_part_and_nothing_else():
    plain = count(build(PLAIN))
    assert count(build(replace(PLAIN, iterations=2))) == plain + count(FeedbackBlock(32))
    assert count(build(replace(PLAIN, iterations=4))) == count(build(replace(PLAIN, iterations=2)))
    gates = 2 * (32 + 16 + 4 + 8 + 16)
    assert count(build(replace(PLAIN, gates=True))) == plain + gates
    assert count(build(replace(PLAIN, gates=True, direction="tonemap"))) == plain + 2 * 32
    assert count(build(replace(PLAIN, embedding=True))) == plain + 2 * (512 * 16 + 16) + 16 * 32 * 9


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("side", [1, 3])
def test_the_output_has_the_inputs_size(config, side):
    given = inputs(config, side=side)
    with torch.no_grad():
        assert awake(config).eval()(**given).shape == given["ldr"].shape


@pytest.mark.parametrize("config", [c for c in VARIANTS.values() if c.direction == "expand"])
def test_untrained_it_gives_the_linearised_input(config):
    given = inputs(config)
    with torch.no_grad():
        t = build(config).eval()(**given).numpy()
    linear = decode(given["ldr"].numpy().astype(np.float64), Transfer.SRGB)
    np.testing.assert_allclose(t, np.log1p(5000 * linear / config.peak) / np.log1p(5000), atol=1e-6)


def test_untrained_the_way_back_gives_the_ideal_photo():
    """y to min(y, 1) to sRGB."""
    given = inputs(VARIANTS["G_X"])
    with torch.no_grad():
        codes = build(VARIANTS["G_X"]).eval()(**given).numpy()
    y = np.expm1(given["ldr"].numpy().astype(np.float64) * np.log(5001)) * 256 / 5000
    np.testing.assert_allclose(codes, encode(np.minimum(y, 1), Transfer.SRGB), atol=2e-6)


def test_untrained_a_toner_gives_the_root_of_t():
    config = VARIANTS["G_X, toned"]
    given = inputs(config)
    with torch.no_grad():
        codes = build(config).eval()(**given)
    torch.testing.assert_close(codes, given["ldr"].sqrt(), atol=2e-4, rtol=0)


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_replicated_borders_tell_nobody_where_they_are(padding):
    """A flat picture stays flat to its border, or does not."""
    network = awake(replace(PLAIN, padding=padding, norm="none")).eval()
    with torch.no_grad():
        image = network(torch.full((1, 3, 64, 64), 0.5))
    spread = float((image.amax((2, 3)) - image.amin((2, 3))).max())
    assert spread < 1e-5 if padding == "replicate" else spread > 1e-3


def test_a_toner_can_flatten_nothing():
    """Whatever the network says, brighter is brighter, and never out of range."""
    t = torch.linspace(0.001, 0.999, 500).view(1, 1, 1, -1)
    for change in (-1e6, 0.0, 1e6):
        codes = feedback_unet._toned(t, torch.full_like(t, change))
        assert (codes.diff() > 0).all()
        assert 0 < float(codes.min()) < float(codes.max()) < 1


def test_untrained_a_photo_survives_both_ways():
    given = inputs(PLAIN)
    with torch.no_grad():
        t = build(PLAIN).eval()(**given)
        torch.testing.assert_close(build(replace(PLAIN, direction="tonemap")).eval()(t), given["ldr"], rtol=0, atol=2e-6)


def test_awake_it_says_something_and_has_the_same_state():
    network = build(PLAIN)
    names = set(network.state_dict())
    network.wake_up()
    assert set(network.state_dict()) == names
    assert bool(network.tail.weight.any())


class TestFeatures:
    def test_one_a_level(self):
        given = inputs(SMALL, side=2)
        levels = build(SMALL).features(given["ldr"])
        assert [tuple(v.shape[1:]) for v in levels] == [(4, 16, 24), (8, 8, 12), (16, 4, 6)]
        assert tuple(v.shape[1] for v in levels) == build(SMALL).feature_channels

    @pytest.mark.parametrize("saves_memory", [False, True])
    def test_other_images_leave_no_trace_in_running_statistics(self, saves_memory):
        network, given = build(SMALL).train(), inputs(SMALL, side=2)
        network.saves_memory = saves_memory
        before = {name: b.clone() for name, b in network.named_buffers() if "running" in name}
        sum(f.sum() for f in network.features(given["ldr"])).backward()
        assert all(torch.equal(b, before[name]) for name, b in network.named_buffers() if name in before)
        network.iterate(**given)
        assert not torch.equal(network.get_buffer("encoder.0.2.running_mean"), before["encoder.0.2.running_mean"])


def test_a_network_alone_makes_its_maps_itself():
    network, given = awake(SMALL).eval(), inputs(SMALL)
    wrapped = feedback_unet.SelfContained(network, lambda image: given["maps"])
    with torch.no_grad():
        assert torch.equal(wrapped(given["ldr"]), network(**given))


def test_a_network_alone_goes_without_embeddings():
    config = replace(PLAIN, embedding=True)
    network, given = awake(config).eval(), inputs(config)
    with torch.no_grad():
        expected = network(**(given | {"embeddings": torch.zeros(2, 2, 512)}))
        assert torch.equal(feedback_unet.SelfContained(network, None)(given["ldr"]), expected)


def test_each_iteration_may_embed_the_image_before():
    config = replace(SMALL, embedding=True, iterations=3)
    network, given = awake(config).eval(), inputs(config)
    seen = []

    def embed(image):
        seen.append(image)
        return torch.full((2, 512), float(len(seen)))

    with torch.no_grad():
        images = network.iterate(**given, embed=embed)
        plain = network.iterate(**given)
    assert len(seen) == 2
    assert all(torch.equal(a, b) for a, b in zip(seen, images))
    assert [torch.equal(a, b) for a, b in zip(images, plain)] == [True, False, False]


def test_the_clip_map_is_that_of_inference():
    v = np.linspace(0, 1, 256, dtype=np.float32)
    ours = feedback_unet.clip_map_of(torch.from_numpy(v).requires_grad_())
    np.testing.assert_allclose(ours.detach(), np.sqrt(working.blend_weight(v)), atol=2e-6)
    x = torch.tensor([0.0, 0.94, 0.95, 0.99, 1.0], requires_grad=True)
    feedback_unet.clip_map_of(x).sum().backward()
    assert bool(torch.isfinite(x.grad).all())


def test_fresh_gates_do_nothing():
    network = awake(PLAIN)
    gated = build(replace(PLAIN, gates=True))
    missing = gated.load_state_dict(network.state_dict(), strict=False).missing_keys
    assert all(name.startswith("gate_") for name in missing)
    given = inputs(replace(PLAIN, gates=True))
    with torch.no_grad():
        torch.testing.assert_close(gated.eval()(**given), network.eval()(given["ldr"]))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_every_perception_map_matters_once_trained(index):
    network, given = awake(SMALL).eval(), inputs(SMALL)
    changed = given["maps"].clone()
    changed[:, index] = 1 - changed[:, index]
    with torch.no_grad():
        assert not torch.equal(network(**given), network(**(given | {"maps": changed})))


def test_no_image_remembers_the_one_before():
    network, given = awake(SMALL).eval(), inputs(SMALL)
    with torch.no_grad():
        first = network(**given)
        network(**inputs(SMALL, seed=9))
        assert torch.equal(network(**given), first)
        alone = network(given["ldr"][:1], maps=given["maps"][:1])
    torch.testing.assert_close(alone, first[:1], rtol=1e-4, atol=1e-5)


def test_a_convlstm_cell_by_hand():
    """Shi et al. 2015, Eq. 3, without peepholes: gates of what the block says, one pixel."""
    torch.manual_seed(4)
    block = LstmFeedbackBlock(8)
    x, state = torch.randn(1, 8, 1, 1), torch.randn(1, 16, 1, 1)
    said = block.out(block.blocks(block.merge(torch.cat([x, state[:, :8]], 1)))).detach().numpy().reshape(4, 8)
    takes, forgets, shows = (1 / (1 + np.exp(-(said[i] + (i == 1)))) for i in range(3))
    memory = forgets * state[0, 8:, 0, 0].numpy() + takes * np.tanh(said[3])
    expected = np.concatenate([shows * np.tanh(memory), memory])
    np.testing.assert_allclose(block(x, state).detach().numpy().ravel(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_every_iteration_gives_an_image_and_forward_the_last(iterations):
    config = replace(SMALL, iterations=iterations)
    network, given = awake(config).eval(), inputs(config)
    with torch.no_grad():
        images = network.iterate(**given)
        assert len(images) == iterations
        assert torch.equal(images[-1], network(**given))
    assert len({image.sum().item() for image in images}) == iterations


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_gradients_reach_every_parameter(config):
    network = awake(config)
    given = inputs(config, side=2)
    given["ldr"] = given["ldr"] * 0.6 + 0.2  # away from where G_X clamps
    (sum(network.iterate(**given)).square().mean() * 1e3).backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize(
    ("config", "missing"), [(SMALL, "maps"), (VARIANTS["embedding"], "embeddings"), (replace(PLAIN, clip_map=True), "clip")]
)
def test_an_input_that_is_missing_is_named(config, missing):
    given = inputs(config) | {missing: None}
    with pytest.raises(ValueError, match=missing.partition("_")[0].rstrip("s")):
        build(config)(**given)


@pytest.mark.parametrize(
    ("name", "value"),
    [("stem", 3), ("stem", 0), ("stem", 16), ("width", 0), ("width", 6), ("width", -4), ("iterations", 0), ("cell", "gru")]
    + [("peak", v) for v in (1.0, 0.0, -5.0, float("nan"), float("inf"))],
)
def test_sizes_that_no_network_has_are_refused(name, value):
    with pytest.raises(UsageError, match=rf"network\.{name}.*use"):
        Config(**{name: value})


@pytest.mark.parametrize(("stem", "multiple"), [(1, 8), (2, 16), (4, 32)])
def test_sides_are_multiples_of_eight_stems(stem, multiple):
    assert Config(stem=stem).multiple == multiple


@pytest.mark.parametrize("peak", [1.0, 256.0])
def test_t_domain_is_eq_1_and_agrees_with_numpy(peak):
    y = torch.tensor([0.0, 1e-4 * peak, 0.01 * peak, 0.5 * peak, peak])
    t = feedback_unet.to_t(y, peak)
    # log(1 + 5000 x) / log(5001) of x = 0, 1e-4, 0.01, 0.5, 1
    np.testing.assert_allclose(t, [0, 0.047604366729101, 0.46162312266129, 0.91864327187965, 1], atol=2e-7)
    torch.testing.assert_close(feedback_unet.from_t(t, peak), y, rtol=1e-5, atol=1e-7 * peak)
    np.testing.assert_allclose(generator.from_t(t.numpy(), peak), y, rtol=1e-5, atol=1e-7 * peak)


def test_linearisation_is_srgb_with_finite_gradients():
    v = torch.linspace(0, 1, 101, requires_grad=True)
    x = feedback_unet.srgb_to_linear(v)
    np.testing.assert_allclose(x.detach(), decode(np.linspace(0, 1, 101), Transfer.SRGB), atol=1e-6)
    x.sum().backward()
    assert torch.isfinite(v.grad).all()
