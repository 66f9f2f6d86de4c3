"""The recipe "toning": G_X from scenes alone, its bundle, and how its G_X joins another bundle."""

import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import smooth_scene
from tiny_training import short_loop

from hdrcli.color import Transfer
from hdrcli.color import luminance as color_luminance
from hdrcli.conversion import LEARNED, TonemapOptions, load_generator, tonemap
from hdrcli.errors import MissingModel, OutputExists, UsageError
from hdrcli.image import Image
from hdrcli.inference import bundles, learned, onnx_backend, torch_backend
from hdrcli.inference.generator import GeneratorSpec
from hdrcli.inference.learned import automatic_exposure
from hdrcli.losses.tmqi import luminance
from hdrcli.networks import feedback_unet
from hdrcli.networks.feedback_unet import from_t
from hdrcli.training import export
from hdrcli.training.datasets import collate, load_scenes
from hdrcli.training.loop import train
from hdrcli.training.objectives import create, toning
from hdrcli.training.sources import find_scenes
from hdrcli.training.validation import Validation

NETWORK = feedback_unet.Config(
    direction="tonemap", width=4, iterations=1, gates=False, norm="none", stem=8, context=True, toned="log", padding="replicate"
)
CONFIG = toning.Config(network=NETWORK, working_size=192, batch_size=2)


def objective(**changes):
    torch.manual_seed(0)
    return toning.build(replace(CONFIG, **changes))


def batch(made, seed=0):
    rng = np.random.default_rng(seed)
    size = made.view_size
    return collate([s for n in range(2) for s in made.samples({"hdr": smooth_scene(size, size, seed=n)}, rng)])


@pytest.fixture(scope="module")
def run(tmp_path_factory, hdr_folder):
    folder = tmp_path_factory.mktemp("toning")
    scenes = load_scenes(find_scenes([hdr_folder]).files)
    train(objective(), scenes, short_loop(2), folder)
    return folder


class TestSamples:
    def test_scenes_are_exposed_as_the_command_does(self):
        made = objective(exposures=0.0)
        view = smooth_scene(192, 192) * 37
        (sample,) = made.samples({"hdr": view}, np.random.default_rng(0))
        light = from_t(torch.from_numpy(sample["t"]), 256.0).numpy()
        np.testing.assert_allclose(light, np.minimum(view * automatic_exposure(view), 256), rtol=2e-3, atol=1e-5)

    def test_half_of_them_are_exposed_otherwise_and_say_so(self):
        made = objective(exposures=2.0)
        view = smooth_scene(192, 192)
        rng = np.random.default_rng(0)
        samples = [made.samples({"hdr": view}, rng)[0] for _ in range(40)]
        evs = np.array([float(s["ev"].item()) for s in samples])
        assert 8 <= np.count_nonzero(evs) <= 32
        assert np.abs(evs).max() <= 2
        medians = [float(np.median(from_t(torch.from_numpy(s["t"]), 256.0))) for s in samples]
        usual = next(m for m, ev in zip(medians, evs, strict=True) if ev == 0)
        np.testing.assert_allclose(medians, usual * 2**evs, rtol=0.01)


class TestLoss:
    def test_all_terms_reach_every_parameter(self):
        made = objective()
        made.networks["g_x"].wake_up()
        made.loss("g", batch(made), 0)["loss"].backward()
        silent = [name for name, p in made.networks.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert silent == []

    @pytest.mark.parametrize("term", ["structure", "naturalness", "smooth"])
    def test_each_has_a_switch(self, term):
        given = batch(objective())
        with torch.no_grad():
            whole, less = (objective(**change).loss("g", given, 0) for change in ({}, {f"{term}_weight": 0.0}))
        weight = getattr(CONFIG, f"{term}_weight")
        assert float(whole["loss"] - less["loss"]) == pytest.approx(weight * float(whole[term]), rel=1e-3, abs=1e-6)
        assert abs(float(whole[term])) > 1e-4

    def test_training_lowers_it(self):
        made = objective()
        given = batch(made)
        adam = made.optimizers()["g"]
        values = []
        for _ in range(12):
            adam.zero_grad()
            loss = made.loss("g", given, 0)["loss"]
            loss.backward()
            adam.step()
            values.append(float(loss.detach()))
        assert values[-1] < values[0]


def test_what_is_judged_is_what_the_command_makes():
    """The torch form of the guided gain against the one that full pictures get, at the size of the network's picture."""
    light = smooth_scene(192, 192)
    spec = GeneratorSpec("fake", "1", ("t",), 192, 8, 256.0, Path("fake"), role="g_x")

    class Toner:
        def __call__(self, inputs):
            return np.sqrt(inputs["t"])

    toner = Toner()
    toner.spec = spec
    toning_ = learned.prepare(toner, lambda rows: light[rows], 192, 192, 1.0)
    expected = color_luminance(toning_.apply(light, 0))
    scene = torch.from_numpy(light).permute(2, 0, 1)[None]
    t = feedback_unet.to_t(scene.clamp(max=256), 256.0)
    shown, gain = toning.applied(t.sqrt(), scene)
    np.testing.assert_allclose(shown[0, 0], expected, rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(torch.exp2(gain) * luminance(scene), shown, rtol=1e-4)


def test_a_gain_that_changes_where_the_scene_does_not_costs():
    light = torch.full((1, 3, 32, 32), 0.2)
    light[..., 16:] = 6.4
    even = torch.zeros(1, 1, 32, 32)
    shadow = even.clone()
    shadow[..., :8, :] = -1.0
    follows = torch.where(light[:, :1] > 1, -3.0, 0.0)
    assert float(toning.unevenness(even, light)) == 0
    assert float(toning.unevenness(follows, light)) < 0.001 < float(toning.unevenness(shadow, light))


@pytest.fixture(scope="module")
def toner(run, tmp_path_factory):
    return export.write_bundle(run, tmp_path_factory.mktemp("models") / "toner")


class TestBundle:
    def test_it_holds_the_way_back_alone(self, run, toner):
        assert {p.name for p in toner.iterdir()} == {"model.toml", "g_x.onnx"}
        bundle = bundles.read(toner)
        bundles.verify(bundle)
        assert bundle.roles == ("g_x",)
        card = tomllib.loads((toner / "model.toml").read_text(encoding="utf-8"))
        assert card["model"]["direction"] == "HDR to LDR (G_X)"
        assert card["training"]["recipe"] == "toning"
        with pytest.raises(MissingModel, match="has no g_y"):
            load_generator(str(toner))
        with pytest.raises(MissingModel, match="no G_Y"):
            load_generator(str(run))

    def test_torch_and_onnx_agree(self, run, toner):
        given = np.random.default_rng(0).random((1, 3, 64, 128), dtype=np.float32)
        onnx, ours = onnx_backend.load(bundles.read(toner), "cpu", "g_x"), torch_backend.load(run, "cpu", "g_x")
        np.testing.assert_allclose(onnx({"t": given}), ours({"t": given}), atol=1e-4)

    def test_it_tone_maps(self, toner):
        shown = tonemap(Image(smooth_scene(60, 90), Transfer.LINEAR), TonemapOptions(LEARNED, model=str(toner)))
        assert shown.pixels.shape == (60, 90, 3)
        assert shown.pixels.std() > 0

    def test_weights_alone(self, run):
        assert export.write_weights(run) == run / "g_x.safetensors"


class TestJoining:
    @pytest.fixture
    def bundle(self, exported_bundle, tmp_path):
        return shutil.copytree(exported_bundle, tmp_path / "both")

    def test_the_bundle_gains_the_way_back(self, run, bundle):
        before = bundles.read(bundle).card
        export.add_way_back(run, bundle)
        after = bundles.read(bundle)
        bundles.verify(after)
        assert after.roles == ("g_y", "g_x")
        assert after.card["model"]["direction"] == "LDR to HDR (G_Y) and HDR to LDR (G_X)"
        assert after.card["g_x"]["training"]["recipe"] == "toning"
        assert after.card["g_x"]["data"]["scenes"] > 0
        untouched = set(before) - {"files", "model"}
        assert {name: after.card[name] for name in untouched} == {name: before[name] for name in untouched}
        assert load_generator(str(bundle), role="g_x").spec.inputs == ("t",)

    def test_one_that_is_there_is_replaced_only_if_asked(self, run, bundle, monkeypatch):
        monkeypatch.setattr(export, "export_onnx", lambda export_, path, *, half: float(path.write_bytes(b"network") * 0))
        export.add_way_back(run, bundle)
        with pytest.raises(OutputExists, match="has g_x"):
            export.add_way_back(run, bundle)
        export.add_way_back(run, bundle, overwrite=True)
        bundles.verify(bundles.read(bundle))

    def test_a_run_without_one_is_named(self, trained_run, bundle):
        with pytest.raises(MissingModel, match="trains no G_X"):
            export.add_way_back(trained_run, bundle)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"working_size": 64}, "working_size"),
        ({"working_size": 190}, "working_size"),
        ({"smooth_weight": -1.0}, "smooth_weight"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"network": replace(NETWORK, direction="expand")}, "network"),
    ],
)
def test_bad_options_are_named(changes, named):
    with pytest.raises(UsageError) as error:
        objective(**changes)
    assert error.value.where == named


def test_scores_of_g_y_are_refused(hdr_folder, tmp_path):
    scenes = load_scenes(find_scenes([hdr_folder]).files)
    with pytest.raises(UsageError, match="does not train"):
        train(objective(), scenes, short_loop(1), tmp_path, validation=Validation((), "", {}))


def test_it_is_found_by_name():
    assert create("toning", {"batch_size": "3"}, 1).batch_size == 3


def test_the_sheet_has_three_columns():
    made = objective()
    picture = made.sheet(made.networks, batch(made))
    assert picture.shape == (2 * 192, 3 * 192, 3)
