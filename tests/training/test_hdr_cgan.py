"""HDR-cGAN: what a sample holds, what the losses are, what is trained, and what becomes a bundle."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import smooth_scene
from safetensors.torch import save_file
from seeded_backbones import seeded_state
from tiny_training import short_loop
from torch.nn import functional

from hdrcli.camera import CameraDistribution, exposure_alignment, gamma_exposures
from hdrcli.color import Transfer, decode
from hdrcli.errors import MissingModel, ModelError, UsageError
from hdrcli.inference import bundles, onnx_backend, torch_backend
from hdrcli.inference.reconstruction import Reconstruction, ask, reconstruct
from hdrcli.networks import exposure_segmenter, hdr_cgan, patchgan, vgg
from hdrcli.networks.feedback_unet import to_t
from hdrcli.perception import segmentation
from hdrcli.training import export, loop, recipes
from hdrcli.training.datasets import collate, find_scenes, load_scenes
from hdrcli.training.objectives import _pairs, create
from hdrcli.training.objectives import hdr_cgan as system

SMALL = hdr_cgan.Config(width=4, stem=2, norm="none", residual=True, clip_map=True, mask="clip")
CONFIG = system.Config(
    network=SMALL,
    discriminator=patchgan.Config(width=4, inputs=6),
    working_size=32,
    view_size=64,
    batch_size=2,
    learning_rate=3e-3,
    vgg_weights="none",
)


def objective(**changes):
    torch.manual_seed(0)
    return system.build(replace(CONFIG, **changes))


def batch(made, seed=0):
    samples = []
    for i in range(made.views_per_batch):
        size = made.view_size
        samples += made.samples({"hdr": smooth_scene(size, size, seed + i)}, np.random.default_rng(seed + i))
    return collate(samples)


def step(made, given, optimizers=None):
    found = {}
    for phase in made.phases:
        for name, network in made.networks.items():
            network.requires_grad_(name in made.trained(phase))
        if optimizers:
            optimizers[phase].zero_grad(set_to_none=True)
        terms = made.loss(phase, given, 0)
        terms["loss"].backward()
        if optimizers:
            optimizers[phase].step()
        found |= {f"loss_{phase}" if name == "loss" else name: float(value.detach()) for name, value in terms.items()}
    return found


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """A file as torchvision's, of random weights."""
    file = tmp_path_factory.mktemp("vgg") / "mine.safetensors"
    save_file(seeded_state(vgg.VGG16()), file)
    return file


class TestSamples:
    view = smooth_scene(64, 64)

    @pytest.mark.parametrize("data", ["camera", "eq11"])
    def test_what_was_measured_says_in_the_truth_what_its_code_says(self, data):
        made = objective(data=data, camera=CameraDistribution(p_measured=0.0, white_balance_stops=0.0))
        for seed in range(4):
            (sample,) = made.samples({"hdr": self.view}, np.random.default_rng(seed))
            for value in sample.values():
                assert (value.shape, value.dtype) == ((32, 32, 3), np.float32)
                assert np.isfinite(value).all()
            well = ((sample["ldr"] >= 0.1) & (sample["ldr"] <= 0.85)).all(axis=2) & (sample["lost"] == 0).all(axis=2)
            linear = np.log2(decode(sample["ldr"], Transfer.SRGB) + 2.0**-10)
            if well.sum() > 50:
                assert abs(np.median(sample["stops"][well] - linear[well])) < 0.2

    def test_eq11_is_the_virtual_cameras(self):
        """Z = clip((H t)^(1/2.2)), at 8 bits."""
        for time, expected in zip(system.EXPOSURES, gamma_exposures(self.view)):
            codes, light = system.gamma_photo(self.view, time, 256.0)
            np.testing.assert_allclose(codes / 255, expected, atol=0.5 / 255 + 1e-6)
            exposed = np.minimum(self.view * time, 256)
            factor = exposure_alignment(decode(codes[::3, ::3] / 255, Transfer.SRGB), exposed[::3, ::3], codes[::3, ::3])
            np.testing.assert_allclose(light, exposed / factor, rtol=1e-4)

    def test_eq11_draws_all_its_exposures(self):
        made = objective(data="eq11")
        means = {
            round(float(made.samples({"hdr": self.view}, np.random.default_rng(i))[0]["ldr"].mean()), 4) for i in range(24)
        }
        assert len(means) == 4

    def test_pairs_are_taken_as_they_are(self):
        codes = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        light = np.full((64, 64, 3), 1000.0, np.float32)
        for data in ("camera", "eq11"):
            (sample,) = objective(data=data).samples({"ldr": codes, "hdr": light}, np.random.default_rng(0))
            np.testing.assert_allclose(sample["stops"], 8, atol=1e-3)  # capped at the peak
            expected = codes.reshape(32, 2, 32, 2, 3).mean((1, 3)) / 255
            np.testing.assert_allclose(sample["ldr"], expected, atol=0.51 / 255)

    def test_a_small_lamp_keeps_its_light(self):
        codes, light = np.full((64, 64, 3), 100, np.uint8), np.full((64, 64, 3), 0.13, np.float32)
        codes[20, 30], light[20, 30] = 255, 50
        found = _pairs.reduced(codes, light, 16)
        np.testing.assert_allclose(found["stops"][5, 7], np.log2(50), atol=0.05)
        assert found["lost"][5, 7, 0] == pytest.approx(1 / 16, rel=1e-3)


class TestLosses:
    def test_eq6(self):
        made = objective(highlights_weight=3.0)
        given = batch(made)
        torch.manual_seed(0)
        image = made.networks["g_y"](given["ldr"], given["clip"])
        truth = to_t(torch.exp2(given["stops"]) - 2.0**-10, 256.0)
        logits = made.networks["d_y"](2 * torch.cat([given["ldr"], image], 1) - 1)
        terms = made.loss("g", given, 0)
        l1, gan = (truth - image).abs().mean(), -functional.logsigmoid(logits).mean()
        assert float(terms["l1"].detach()) == pytest.approx(float(l1.detach()), rel=1e-5)
        assert float(terms["gan"].detach()) == pytest.approx(float(gan.detach()), rel=1e-4)
        expected = gan + 100 * l1 + 3 * terms["highlights"]
        assert float(terms["loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-4)

    def test_d_minimises_the_mean_of_real_and_fake(self):
        made = objective()
        for parameter in made.networks["d_y"].parameters():
            torch.nn.init.zeros_(parameter)
        given = batch(made)
        made.loss("g", given, 0)
        assert float(made.loss("d", given, 0)["loss"].detach()) == pytest.approx(np.log(2), rel=1e-6)

    def test_the_highlights_term_is_about_what_clipped_alone(self):
        made = objective(highlights_weight=1.0, gan_weight=0.0, l1_weight=0.0)
        given = batch(made)
        assert (given["lost"] == 0).any()
        given["lost"][:] = 0
        assert float(made.loss("g", given, 0)["loss"].detach()) == 0

    def test_without_an_adversary_there_is_none(self):
        made = objective(gan_weight=0.0)
        assert made.phases == ("g",)
        assert set(made.networks) == {"g_y"}
        assert "gan" not in made.loss("g", batch(made), 0)

    def test_the_distance_of_features(self, vgg_file):
        """Against its layers one by one."""
        network = vgg.load(vgg_file)
        torch.manual_seed(0)
        a, b = torch.rand(2, 2, 3, 32, 32)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

        def pools(image):
            x, found = (image - mean) / std, []
            for layer in [*network.features, torch.nn.MaxPool2d(2, 2)]:
                x = layer(x)
                if isinstance(layer, torch.nn.MaxPool2d):
                    found.append(x)
            return found

        assert [p.shape[1] for p in pools(a)] == [64, 128, 256, 512, 512]
        expected = sum((p - q).square().flatten(1).mean(1).sqrt().mean() for p, q in zip(pools(a), pools(b)))
        assert float(system.feature_distance(network, a, b)) == pytest.approx(float(expected), rel=1e-4)
        assert float(system.feature_distance(network, a, a)) < 1e-3
        a.requires_grad_()
        system.feature_distance(network, a, a.detach().clone()).backward()
        assert torch.isfinite(a.grad).all()


class TestWeightsOfOthers:
    @pytest.fixture(autouse=True)
    def _no_cache(self, monkeypatch, tmp_path):
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def test_absent_and_not_asked_for_the_term_is_off_and_said_to_be(self):
        made = objective(vgg_weights="")
        assert made.guides()["perceptual loss"].startswith("left out: VGG16's weights are not in torch's cache")
        assert made.describe()["options"]["perceptual"].startswith("left out")
        assert "perceptual" not in made.loss("g", batch(made), 0)

    def test_asked_for_and_absent_is_an_error(self, tmp_path):
        with pytest.raises(MissingModel, match="no such file or folder"):
            objective(vgg_weights=str(tmp_path / "none.pth"))

    def test_a_file_that_is_none_is_an_error(self, tmp_path):
        (tmp_path / "mine.pth").write_bytes(b"nothing")
        with pytest.raises(ModelError, match="can't be read as weights"):
            objective(vgg_weights=str(tmp_path / "mine.pth"))

    def test_with_weights_the_term_counts_and_they_stay_frozen(self, vgg_file):
        made = objective(vgg_weights=str(vgg_file))
        assert made.guides()["perceptual loss"] == "VGG16"
        assert str(vgg_file.parent) not in str(made.describe())
        before = {name: value.clone() for name, value in made._features.state_dict().items()}
        given = batch(made)
        terms = made.loss("g", given, 0)
        expected = terms["gan"] + 100 * (terms["l1"] + 0.005 * terms["perceptual"])
        assert float(terms["loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
        step(made, given, made.optimizers())
        assert all(torch.equal(value, before[name]) for name, value in made._features.state_dict().items())
        assert not any("features" in name for name in made.networks.state_dict())

    def test_the_mask_of_the_segmenter_needs_its_weights_and_keeps_them(self, tmp_path):
        network = replace(SMALL, mask="segmentation")
        with pytest.raises(MissingModel, match="no weights of the segmenter"):
            objective(network=network, segmenter_weights=str(tmp_path))
        torch.manual_seed(3)
        segmenter = exposure_segmenter.build(exposure_segmenter.Config(width=4))
        save_file(segmenter.state_dict(), tmp_path / segmentation.FILE, {"hdrcli": '{"network": {"width": 4}}'})
        made = objective(network=network, segmenter_weights=str(tmp_path))
        assert made.describe()["options"]["network"]["segmenter_width"] == 4
        given = batch(made)
        optimizers = made.optimizers()
        for _ in range(2):
            step(made, given, optimizers)
        kept = made.networks["g_y"].segmenter.state_dict()
        assert all(torch.equal(kept[name], value) for name, value in segmenter.state_dict().items())


class TestTraining:
    def test_phases_train_all_of_one_network_and_nothing_of_the_other(self):
        made = objective()
        given = batch(made)
        for phase, ours, other in (("g", "g_y", "d_y"), ("d", "d_y", "g_y")):
            for name, network in made.networks.items():
                network.requires_grad_(name in made.trained(phase)).zero_grad(set_to_none=True)
            made.loss(phase, given, 0)["loss"].backward()
            assert all(p.grad is not None and p.grad.any() for p in made.networks[ours].parameters())
            assert all(p.grad is None for p in made.networks[other].parameters())

    def test_it_learns(self):
        made = objective(highlights_weight=20.0)
        given, optimizers = batch(made), made.optimizers()
        losses = [step(made, given, optimizers) for _ in range(15)]
        assert losses[-1]["highlights"] < 0.8 * losses[0]["highlights"]

    @pytest.mark.parametrize("network", [SMALL, hdr_cgan.Config(width=4)], ids=["small", "paper"])
    def test_half_precision_gives_finite_losses_and_gradients(self, network):
        made = objective(network=network)
        optimizers, given = made.optimizers(), batch(made)
        for _ in range(3):
            for phase in made.phases:
                optimizers[phase].zero_grad(set_to_none=True)
                with torch.autocast("cpu", torch.bfloat16):
                    loss = made.loss(phase, given, 0)["loss"]
                loss.backward()
                parameters = [p for name in made.trained(phase) for p in made.networks[name].parameters()]
                assert torch.isfinite(loss)
                assert all(torch.isfinite(p.grad).all() for p in parameters)
                optimizers[phase].step()

    def test_the_sheet_shows_all_stages(self):
        made = objective()
        assert made.sheet(made.networks, batch(made)).shape == (64, 32 * 7, 3)


@pytest.fixture(scope="module")
def run(tmp_path_factory, hdr_folder):
    folder = tmp_path_factory.mktemp("run")
    scenes = load_scenes(find_scenes([hdr_folder]).files)
    # the whole pipeline takes long to export: see test_the_whole_pipeline_becomes_a_bundle
    network = replace(SMALL, width=2, recurrence=False, refinement=False, clip_map=False, mask="exposure")
    loop.train(objective(network=network), scenes, short_loop(3), folder)
    return folder


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    return export.write_bundle(run, tmp_path_factory.mktemp("models") / "cgan")


class TestBundle:
    def test_the_photo_is_all_it_needs(self, bundle):
        spec = bundles.read(bundle).spec()
        assert (spec.inputs, spec.multiple, spec.working_size, spec.architecture) == (("ldr",), 32, 32, "hdr_cgan")
        card = tomllib.loads((bundle / "model.toml").read_text(encoding="utf-8"))
        assert card["network"]["mask"] == "exposure"
        assert card["domain"]["parity"] <= 1e-4
        assert card["training"]["options"]["perceptual"].startswith("left out")

    @pytest.mark.parametrize("shape", [(1, 32, 32), (2, 64, 96)])
    def test_onnx_and_torch_agree(self, bundle, run, shape):
        count, height, width = shape
        given = np.random.default_rng(0).random((count, 3, height, width), dtype=np.float32)
        given[:, :, :16, :16] = 1
        inputs = {"ldr": given}
        onnx = onnx_backend.load(bundles.read(bundle), "cpu")
        np.testing.assert_allclose(onnx(inputs), torch_backend.load(run, "cpu")(inputs), atol=1e-4)

    def test_it_expands(self, bundle):
        codes = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
        coarse = ask(onnx_backend.load(bundles.read(bundle), "cpu"), codes, Transfer.SRGB)
        light = np.asarray(reconstruct(codes, Transfer.SRGB, coarse, Reconstruction(), np.dtype(np.float32)))
        assert light.shape == codes.shape
        measured = codes < 239
        np.testing.assert_allclose(light[measured], decode(codes[measured] / 255, Transfer.SRGB), atol=1e-6)

    def test_weights_are_read_back(self, bundle, run):
        export.write_weights(run)
        given = {"ldr": np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)}
        alone, whole = (torch_backend.load(run / name, "cpu") for name in ("g_y.safetensors", "checkpoint.pt"))
        np.testing.assert_array_equal(alone(given), whole(given))


@pytest.mark.slow
@pytest.mark.parametrize(("mask", "norm"), [("clip", "none"), ("segmentation", "batch"), ("threshold", "batch")])
def test_the_whole_pipeline_becomes_a_bundle(mask, norm, tmp_path):
    torch.manual_seed(0)
    network = hdr_cgan.build(replace(SMALL, mask=mask, norm=norm)).eval()
    made = export.Export.of(network, architecture="hdr_cgan", file="g_y.onnx", inputs=("ldr", "clip"), working_size=32)
    assert export.export_onnx(made, tmp_path / "g_y.onnx") <= 1e-4


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"discriminator.inputs": "3"}, r"discriminator\.inputs: D sees"),
            ({"working_size": "16"}, "working_size: 16 is below 32"),
            ({"working_size": "8192"}, "above 4096"),
            ({"working_size": "250"}, "no multiple of 16"),
            ({"working_size": "1024"}, "more than view_size 512"),
            ({"learning_rate": "0"}, "learning_rate: 0 is not above 0"),
            ({"gan_weight": "-1"}, "gan_weight: -1 is negative"),
            ({"gan_weight": "0", "l1_weight": "0"}, "all losses are left out"),
            ({"network.mask": "clip"}, r"network\.mask: .*clip map"),
            ({"network.stem": "2"}, r"network\.stem: .*blurred"),
            ({"network.mask": "sky"}, "there are: exposure, segmentation, threshold, clip"),
            ({"data": "photos"}, "there are: camera, eq11"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, options, words):
        with pytest.raises(UsageError, match=words):
            create("hdr_cgan", {"network.width": "2", "vgg_weights": "none"} | options, 1)

    def test_the_recipe_is_the_paper(self):
        recipe = recipes.load("hdr-cgan")
        assert not recipe.options
        config = system.Config()
        assert (config.working_size, config.view_size, config.batch_size) == (256, 512, 1)
        assert (config.learning_rate, config.l1_weight, config.perceptual_weight) == (2e-4, 100.0, 0.005)
        assert (config.network.width, config.network.steps, config.network.stem) == (64, 2, 1)
        ours = (config.network.residual, config.network.clip_map, config.highlights_weight)
        assert ours == (False, False, 0)
        assert (recipe.loop.epochs, recipe.loop.constant_share, recipe.loop.schedule) == (200, 0.5, "constant-linear")

    def test_the_optimisers_are_adam(self):
        made = objective()
        for phase, rate in (("g", 3e-3), ("d", 2e-4)):
            (group,) = made.optimizers()[phase].param_groups
            assert (group["lr"], group["betas"]) == (rate, (0.5, 0.999))
