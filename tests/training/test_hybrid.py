"""The recipe "hybrid": what a sample holds, what the losses measure, where weights come from, what stays as it is."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import seeded_backbones as seeded
import torch
from fakes import smooth_scene
from tiny_training import short_loop

from hdrcli.camera import Camera, exposure_alignment, srgb_response
from hdrcli.color import Transfer, decode
from hdrcli.errors import MissingModel, ModelError, UsageError
from hdrcli.inference.working import clip_map, lost_share, working_codes
from hdrcli.networks import mobilenet_autoencoder, mobilenetv3, vgg
from hdrcli.networks.feedback_unet import to_t
from hdrcli.training import checkpoint, loop, recipes
from hdrcli.training.datasets import collate, find_scenes, load_scenes
from hdrcli.training.objectives import _pairs, create, hybrid

TINY = hybrid.Config(
    network=mobilenet_autoencoder.Config(width=4), working_size=32, view_size=64, batch_size=2, lpips_weight=0.0
)
VIEW = smooth_scene(64, 64)
SHAPES = json.loads((Path(__file__).parents[1] / "data" / "mobilenet_v3_large.json").read_text(encoding="utf-8"))


def objective(**changes):
    torch.manual_seed(0)
    return hybrid.build(replace(TINY, **changes))


def network(**changes):
    return replace(TINY.network, **changes)


def batch_of(made, count=2):
    rng = np.random.default_rng(0)
    return collate([sample for _ in range(count) for sample in made.samples({"hdr": VIEW}, rng)])


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch, tmp_path):
    """Nobody's weights lie in torch's cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory):
    """Random weights with the published names and shapes, classifier and all."""
    torch.manual_seed(1)
    state = {n: torch.tensor(7) if not s else torch.rand(s) / max(1, math.prod(s[1:])) ** 0.5 for n, s in SHAPES.items()}
    path = tmp_path_factory.mktemp("weights") / "encoder.pth"
    torch.save(state, path)
    return path


class TestSamples:
    def test_a_virtual_photo_is_reduced_as_inference_does_it(self):
        codes = Camera(srgb_response(), 2.0).shoot(VIEW, np.random.default_rng(0))
        sample = _pairs.reduced(codes, np.minimum(VIEW * 2, 256), 32)
        np.testing.assert_array_equal(sample["ldr"], working_codes(codes, Transfer.SRGB, (32, 32)))
        np.testing.assert_array_equal(sample["lost"], lost_share(codes, (32, 32)))
        np.testing.assert_array_equal(sample["clip"], clip_map(sample["lost"]))
        kept = sample["lost"] == 0
        cells = np.log2(VIEW * 2 + 2.0**-10).reshape(32, 2, 32, 2, 3).mean((1, 3))
        np.testing.assert_allclose(sample["stops"][kept], cells[kept], atol=1e-4)

    def test_where_a_cell_lost_something_the_truth_is_of_that(self):
        light = np.full((64, 64, 3), 0.2, np.float32)
        light[10, 10] = 50.0
        codes = Camera(srgb_response()).shoot(light, np.random.default_rng(0))
        assert _pairs.reduced(codes, light, 32)["stops"][5, 5] == pytest.approx(np.log2(50), abs=0.01)

    def test_a_given_pair_is_taken_as_it_is(self):
        codes = Camera(srgb_response(), 2.0).shoot(VIEW, np.random.default_rng(0))
        made = objective(upside_down=False, photos_per_view=2)
        first, second = made.samples({"ldr": codes, "hdr": VIEW * 2}, np.random.default_rng(0))
        expected = _pairs.reduced(codes, np.clip(VIEW * 2, 0, 256), 32)
        for name, value in expected.items():
            np.testing.assert_array_equal(first[name], value)
            np.testing.assert_array_equal(second[name], value)

    def test_views_are_turned_upside_down_half_of_the_time_both_sides_together(self):
        codes = Camera(srgb_response(), 2.0).shoot(VIEW, np.random.default_rng(0))
        rng, made = np.random.default_rng(0), objective()
        upright = _pairs.reduced(codes, np.clip(VIEW * 2, 0, 256), 32)
        turned = 0
        for _ in range(40):
            (sample,) = made.samples({"ldr": codes, "hdr": VIEW * 2}, rng)
            flip = not np.array_equal(sample["ldr"], upright["ldr"])
            turned += flip
            for name, value in upright.items():
                np.testing.assert_allclose(sample[name], value[::-1] if flip else value, atol=1e-5)
        assert 8 < turned < 32

    def test_random_samples_are_finite_and_follow_from_the_seed(self):
        made = objective(photos_per_view=2)
        samples, again = (made.samples({"hdr": VIEW}, np.random.default_rng(3)) for _ in range(2))
        assert len(samples) == 2
        for a, b in zip(samples, again):
            for key in ("ldr", "clip", "stops", "lost"):
                assert (a[key].shape, a[key].dtype) == ((32, 32, 3), np.float32)
                assert np.isfinite(a[key]).all()
                np.testing.assert_array_equal(a[key], b[key])

    def test_the_truth_has_the_photos_exposure(self):
        sample = objective(upside_down=False).samples({"hdr": VIEW}, np.random.default_rng(5))[0]
        linear = decode(sample["ldr"], Transfer.SRGB).astype(np.float32)
        truth = (np.exp2(sample["stops"]) - 2.0**-10).astype(np.float32)
        codes = np.rint(sample["ldr"] * 255).astype(np.uint8)
        assert exposure_alignment(linear, truth, codes) == pytest.approx(1, rel=0.25)


class TestLosses:
    def batch(self):
        torch.manual_seed(0)
        stops = torch.rand(2, 3, 32, 32) * 8 - 4
        return {"ldr": torch.rand(2, 3, 32, 32), "stops": stops, "lost": (stops > 1).float()}

    def test_l1_is_of_what_tanh_gives(self):
        """Twice the difference in 0..1: tanh reaches from -1 to 1."""
        batch = self.batch()
        target = to_t(torch.exp2(batch["stops"]) - 2.0**-10, 256.0).clamp(min=0)
        terms = objective().losses(target + 0.1, batch)
        assert set(terms) == {"l1"}
        assert float(terms["l1"]) == pytest.approx(0.2, abs=1e-4)

    def test_an_alpha_map_weighs_it(self):
        batch = self.batch()
        batch["ldr"][:] = 0.5
        batch["ldr"][0, 1, :16] = 0.975
        target = to_t(torch.exp2(batch["stops"]) - 2.0**-10, 256.0).clamp(min=0)
        terms = objective(alpha_map=True).losses(target + 0.1, batch)
        assert float(terms["l1"]) == pytest.approx(0.2 * 0.5 / 4, abs=1e-4)  # a quarter of the values, half each

    def test_a_min_max_log_has_its_own_target(self):
        batch = self.batch()
        made = objective(network=network(target="minmax_log"))
        light = torch.exp2(batch["stops"]) - 2.0**-10
        v = torch.log1p(light.clamp(min=0))
        each = torch.stack([(p - p.min() + 1e-6) / p.max() for p in v])
        assert float(made.losses(each, batch)["l1"]) == pytest.approx(0, abs=1e-5)

    def test_the_total_is_the_weighted_sum(self):
        made = objective(highlight_weight=0.5, gradient_weight=0.25, border_weight=0.125)
        terms = made.loss("g", batch_of(made), 0)
        assert set(terms) == {"loss", "l1", "highlight", "gradient", "border"}
        values = {name: float(value.detach()) for name, value in terms.items()}
        expected = 2 * values["l1"] + 0.5 * values["highlight"] + 0.25 * values["gradient"] + 0.125 * values["border"]
        assert values["loss"] == pytest.approx(expected, rel=1e-6)

    def test_highlights_are_measured_in_stops(self):
        batch = self.batch()
        light = torch.exp2(batch["stops"] + 1) - 2.0**-10
        signal = to_t(light, 256.0)
        made = objective(highlight_weight=1.0)
        assert float(made.losses(signal, batch)["highlight"]) == pytest.approx(1, abs=0.01)

    def test_lpips_with_weights_is_lpips(self, tmp_path):
        torch.save(seeded.seeded_state(vgg.VGG16()), tmp_path / "vgg.pth")
        made = objective(lpips_weights=str(tmp_path / "vgg.pth"), lpips_weight=3.0)
        digest = hashlib.sha256((tmp_path / "vgg.pth").read_bytes()).hexdigest()[:16]
        assert made.guides()["LPIPS"] == f"VGG16, vgg.pth, SHA-256 {digest}"
        assert made.describe()["options"]["lpips"] == made.guides()["LPIPS"]
        batch = self.batch()
        target = to_t(torch.exp2(batch["stops"]) - 2.0**-10, 256.0).clamp(min=0)
        assert float(made.losses(target, batch)["lpips"]) == pytest.approx(0, abs=1e-6)
        signal = torch.rand(2, 3, 32, 32, requires_grad=True)
        distance = made.losses(signal, batch)["lpips"]
        distance.backward()
        assert float(distance.detach()) > 0
        assert signal.grad.abs().sum() > 0
        assert not any("lpips" in name for name, _ in made.networks.named_parameters())

    def test_without_weights_lpips_is_off_and_says_so(self):
        made = objective(lpips_weight=3.0)
        assert made.guides()["LPIPS"].startswith("off: its weights were not at hand (there are no weights of the name vgg16")
        assert made.describe()["options"]["lpips"] == "off: its weights were not at hand"
        assert "lpips" not in made.losses(torch.rand(2, 3, 32, 32), self.batch())
        assert objective().guides()["LPIPS"] == "left out"

    def test_weights_that_are_asked_for_must_be_there(self, tmp_path):
        with pytest.raises(MissingModel, match="no such file or folder"):
            objective(lpips_weight=3.0, lpips_weights=str(tmp_path / "none.pth"))


class TestEncoder:
    def test_without_weights_it_learns_and_says_so(self):
        made = objective()
        assert made.guides()["encoder"] == "random at the start, trained with the rest"
        assert made.describe()["options"]["encoder"] == made.guides()["encoder"]
        made.loss("g", batch_of(made), 0)["loss"].backward()
        learned = {id(p) for group in made.optimizers()["g"].param_groups for p in group["params"]}
        for name, parameter in made.networks.named_parameters():
            assert id(parameter) in learned, name
            assert parameter.grad is not None, name

    def test_with_weights_it_is_frozen_statistics_and_all(self, encoder_file, tmp_path, hdr_folder):
        torch.manual_seed(0)
        made = hybrid.build(replace(TINY, encoder_weights=str(encoder_file)))
        digest = hashlib.sha256(encoder_file.read_bytes()).hexdigest()[:16]
        assert made.guides()["encoder"] == f"frozen, from encoder.pth, SHA-256 {digest}"
        before = mobilenetv3.load(encoder_file).state_dict()
        decoder = made.networks["g_y"].out.weight.detach().clone()
        loop.train(made, load_scenes(find_scenes([hdr_folder]).files), short_loop(2), tmp_path / "run")
        state = checkpoint.load_run(tmp_path / "run")
        for name, value in before.items():
            assert torch.equal(state["networks"][f"g_y.encoder.{name}"], value), name
            assert torch.equal(state["ema"][f"g_y.encoder.{name}"], value), name
        assert not torch.equal(state["networks"]["g_y.out.weight"], decoder)
        # a card and a record name the file and don't say where it lay
        told = json.dumps([state["description"], json.loads((tmp_path / "run" / "run.json").read_text())["objective"]])
        assert str(encoder_file.parent) not in told
        assert "encoder.pth" in told

    def test_with_weights_it_may_learn_too(self, encoder_file):
        made = objective(encoder_weights=str(encoder_file), frozen="no")
        assert made.guides()["encoder"].startswith("trained with the rest, from encoder.pth")
        assert not made.networks["g_y"].frozen
        weight = made.networks["g_y"].encoder.features[0][0].weight
        assert torch.equal(weight, torch.load(encoder_file)["features.0.0.weight"])
        assert weight.requires_grad

    def test_a_frozen_random_encoder_is_refused(self):
        with pytest.raises(UsageError, match="frozen: an encoder of random weights that never learns sees nothing"):
            objective(frozen="yes")

    def test_missing_and_foreign_weights_are_named(self, tmp_path):
        with pytest.raises(MissingModel, match="no such file"):
            objective(encoder_weights=str(tmp_path / "none.pth"))
        (tmp_path / "text.pth").write_text("no weights")
        with pytest.raises(ModelError, match="can't be read as weights"):
            objective(encoder_weights=str(tmp_path / "text.pth"))


class TestObjective:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"batch_size": "0"}, "batch_size: 0 is below 1"),
            ({"batch_size": "3", "photos_per_view": "2"}, "batch_size: 3 is no multiple of photos_per_view 2"),
            ({"working_size": "100"}, "working_size: 100 is no multiple of 32"),
            ({"working_size": "8192"}, "working_size: 8192 is above 4096"),
            ({"working_size": "544"}, "working_size: 544 is more than view_size 512"),
            ({"learning_rate": "0"}, "learning_rate: 0 is not above 0"),
            ({"l1_weight": "-1"}, "l1_weight: -1 is negative"),
            ({"border_weight": "-1"}, "border_weight: -1 is negative"),
            ({"l1_weight": "0"}, "l1_weight: nothing says which values are right"),
            ({"frozen": "maybe"}, "frozen: no frozen 'maybe'"),
            ({"network.residual": "true", "network.target": "minmax_log"}, "network.residual: a residual has no place"),
            ({"batch_size": "1", "working_size": "32"}, "batch_size: batch norm needs more"),
        ],
    )
    def test_options_that_make_no_sense_are_refused(self, options, words):
        with pytest.raises(UsageError, match=words):
            create("hybrid", {"network.width": "4"} | options, 1)

    def test_the_defaults_are_the_authors_numbers(self):
        config = hybrid.Config()
        assert (config.learning_rate, config.batch_size, config.working_size) == (9e-4, 16, 512)
        assert (config.l1_weight, config.lpips_weight, config.alpha_map) == (2, 3, False)
        assert (config.network.upsampling, config.network.norm, config.network.residual) == ("pixelshuffle", "instance", False)
        assert objective().optimizers()["g"].defaults["betas"] == (0.5, 0.999)
        recipe = recipes.load("hybrid")
        assert (recipe.loop.epochs, dict(recipe.options)) == (100, {})

    def test_the_card_says_how_a_scale_is_restored(self):
        made = objective(network=network(target="minmax_log", brightest=8.0))
        assert "0 is given back as y = 0, 1 as 8" in made.describe()["options"]["scale"]
        assert "scale" not in objective().describe()["options"]

    def test_the_export_says_what_the_network_takes(self):
        made = objective()
        (export,) = made.export(made.networks)
        assert (export.inputs, export.multiple, export.peak, export.working_size) == (("ldr",), 32, 256.0, 32)
        made = objective(network=network(clip_map=True))
        assert made.export(made.networks)[0].inputs == ("ldr", "clip")

    def test_the_sheet_shows_photo_linearised_answer_and_truth(self):
        made = objective(network=network(residual=True))
        batch = batch_of(made)
        sheet = made.sheet(made.networks.eval(), batch)
        assert (sheet.shape, sheet.dtype) == ((64, 128, 3), np.uint8)
        np.testing.assert_allclose(sheet[:32, :32], batch["ldr"][0].permute(1, 2, 0).numpy() * 255, atol=0.51)
        np.testing.assert_allclose(sheet[:32, 32:64], sheet[:32, 64:96], atol=1)  # starts as the linearised input

    def test_a_run_goes_on_bit_for_bit(self, tmp_path, hdr_folder):
        scenes = load_scenes(find_scenes([hdr_folder]).files)
        whole = loop.train(objective(), scenes, short_loop(4), tmp_path / "whole")
        made = objective()
        run = tmp_path / "parts"

        def stop(progress):
            if progress.step == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            loop.train(made, scenes, short_loop(4), run, observe=stop)
        again = loop.train(objective(), scenes, short_loop(4), run, resume=True)
        for name, value in whole["networks"].items():
            assert torch.equal(value, again["networks"][name]), name

    def test_the_torch_backend_runs_what_it_trained(self, tmp_path, hdr_folder):
        from hdrcli.inference import torch_backend

        scenes = load_scenes(find_scenes([hdr_folder]).files)
        made = objective(network=network(clip_map=True, residual=True, norm="none"))
        loop.train(made, scenes, short_loop(2, precision="bf16-mixed"), tmp_path / "run")
        loaded = torch_backend.load(tmp_path / "run", "cpu")
        rng = np.random.default_rng(0)
        given = {name: rng.random((1, 3, 32, 64), dtype=np.float32) for name in ("ldr", "clip")}
        t = loaded(given)
        assert t.shape == (1, 3, 32, 64)
        assert loaded.spec.architecture == "mobilenet_autoencoder"
        state = checkpoint.load_run(tmp_path / "run")
        assert all(torch.isfinite(value).all() for value in state["networks"].values())
