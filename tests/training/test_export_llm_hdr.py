"""A run of LLM-HDR becomes a bundle with both ways, maps inside; the torch backend and ONNX Runtime say the same."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import smooth_scene
from tiny_llm_hdr import CONFIG, batch, objective, step

from hdrcli.camera import Camera, srgb_response
from hdrcli.color import Transfer
from hdrcli.errors import MissingModel, ModelError
from hdrcli.inference import bundles, onnx_backend, torch_backend
from hdrcli.inference.learned import prepare
from hdrcli.inference.reconstruction import Reconstruction, ask, reconstruct
from hdrcli.perception import exposure
from hdrcli.training import checkpoint, export


def awake_gates(made):
    """Gates as training leaves them: not zero."""
    torch.manual_seed(1)
    for name in made.averaged:
        for key, parameter in made.networks[name].named_parameters():
            if key.startswith("gate_"):
                torch.nn.init.normal_(parameter, std=0.3)
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What the loop leaves behind, after two steps, with a small set of artifact maps so that the export is quick."""
    guides = replace(CONFIG.guides, exposure=exposure.Config(banding=False, blocking=False, ringing=False))
    made = awake_gates(objective(network=replace(CONFIG.network, iterations=1), guides=guides))
    step(made, batch(made), made.optimizers())
    folder = tmp_path_factory.mktemp("run")
    exports = made.export(made.networks)
    averaged = {k: v for k, v in made.networks.state_dict().items() if k.startswith(("g_y.", "g_x."))}
    state = {
        "description": made.describe(),
        "generator": exports[0].description(),
        "generators": {e.file: e.description() for e in exports},
        "networks": made.networks.state_dict(),
        "ema": averaged,
        "step": 1,
        "elapsed": 1.0,
        "seed": 0,
        "history": [],
        "scenes": [["meadow", "CC0-1.0"]],
        "photos": [["cat", "CC-BY-4.0"], ["dog", "CC0-1.0"]],
        "device": "cpu",
        "torch": "2",
    }
    checkpoint.save(state, folder)
    (folder / "run.json").write_text('{"recipe": "mine"}', encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    return export.write_bundle(run, tmp_path_factory.mktemp("models") / "both")


def photo(height=40, width=56):
    return Camera(srgb_response(), 1.5).shoot(smooth_scene(height, width), np.random.default_rng(0))


def test_it_holds_both_ways_and_a_card_of_both(bundle):
    assert {p.name for p in bundle.iterdir()} == {"model.toml", "g_y.onnx", "g_x.onnx"}
    read = bundles.read(bundle)
    bundles.verify(read)
    assert read.roles == ("g_y", "g_x")
    forth, back = read.spec(), read.spec("g_x")
    assert (forth.role, forth.inputs, back.role, back.inputs) == ("g_y", ("ldr",), "g_x", ("t",))
    assert (forth.peak, forth.multiple, forth.working_size) == (back.peak, back.multiple, back.working_size) == (256.0, 8, 32)
    assert len({forth.digest, back.digest, ""}) == 3


def test_the_card_tells_what_goes_in_and_where_it_comes_from(bundle):
    card = tomllib.loads((bundle / "model.toml").read_text(encoding="utf-8"))
    assert card["model"]["direction"] == "LDR to HDR (G_Y) and HDR to LDR (G_X)"
    assert card["domain"]["maps"] == card["g_x"]["maps"] == "exposure, inside the network"
    assert max(card["domain"]["parity"], card["g_x"]["parity"]) <= 1e-4
    assert card["g_x"]["network"]["direction"] == "tonemap"
    assert (card["training"]["recipe"], card["training"]["objective"]) == ("mine", "llm_hdr")
    assert (card["data"]["domain"], card["data"]["scenes"], card["data"]["photos"]) == (
        "HDR scenes and unpaired LDR photos",
        1,
        2,
    )
    assert {tuple(entry["names"]) for entry in card["data"]["licences"]} == {("meadow", "dog"), ("cat",)}


def test_the_recipes_name_is_in_the_runs_record(tmp_path):
    best = tmp_path / "best"
    best.mkdir()
    assert export._recipe_name(tmp_path) is None
    (tmp_path / "run.json").write_text("[1]", encoding="utf-8")
    assert export._recipe_name(tmp_path) is None
    (tmp_path / "run.json").write_text('{"recipe": "mine"}', encoding="utf-8")
    assert export._recipe_name(tmp_path) == export._recipe_name(best) == "mine"
    assert export._recipe_name(tmp_path / "other") is None


@pytest.mark.parametrize("role", ["g_y", "g_x"])
@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 40, 72)])
def test_onnx_and_torch_agree_maps_and_all(bundle, run, role, shape):
    onnx, ours = onnx_backend.load(bundles.read(bundle), "cpu", role), torch_backend.load(run, "cpu", role)
    count, height, width = shape
    given = np.random.default_rng(0).random((count, 3, height, width), dtype=np.float32)
    given[:, :, :16, :16] = 1  # clipped
    given[:, :, 16:, :8] = 0
    inputs = dict.fromkeys(onnx.spec.inputs, given)
    np.testing.assert_allclose(onnx(inputs), ours(inputs), atol=1e-4)


def test_the_maps_inside_do_something(run):
    """The same weights without gates give another picture."""
    ours = torch_backend.load(run, "cpu")
    given = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
    given[:, :, :16] = 0  # crushed: skips on the way to the output are gated
    bare = ours._network.inner
    with torch.no_grad():
        without = bare(torch.from_numpy(given), maps=torch.zeros(1, 3, 32, 32)).numpy()
    assert np.abs(ours({"ldr": given}) - without).max() > 1e-4


def test_weights_of_both_ways_are_written_and_read(run):
    export.write_weights(run)
    given = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
    for role in ("g_y", "g_x"):
        file = run / torch_backend.weights_name(role)
        alone, whole = torch_backend.load(file, "cpu", role), torch_backend.load(run, "cpu", role)
        inputs = dict.fromkeys(alone.spec.inputs, given)
        np.testing.assert_array_equal(alone(inputs), whole(inputs))
        file.unlink()


def test_the_bundle_expands_and_tone_maps(bundle):
    codes = photo()
    coarse = ask(onnx_backend.load(bundles.read(bundle), "cpu"), codes, Transfer.SRGB)
    light = reconstruct(codes, Transfer.SRGB, coarse, Reconstruction())
    assert light.shape == codes.shape
    toning = prepare(onnx_backend.load(bundles.read(bundle), "cpu", "g_x"), lambda rows: light[rows], *light.shape[:2])
    display = toning.apply(light, 0)
    assert display.shape == codes.shape
    assert 0 <= display.min() < display.max() <= 1


def test_a_bundle_of_one_way_says_so(exported_bundle, trained_run):
    with pytest.raises(MissingModel, match="has no g_x"):
        onnx_backend.load(bundles.read(exported_bundle), "cpu", "g_x")
    with pytest.raises(MissingModel, match="no G_X"):
        torch_backend.load(trained_run, "cpu", "g_x")


def test_a_way_back_without_its_table_is_refused(bundle, tmp_path):
    text = (bundle / "model.toml").read_text(encoding="utf-8")
    (tmp_path / "model.toml").write_text(text.replace("[g_x", "[other"), encoding="utf-8")
    with pytest.raises(ModelError, match=r"g_x\.inputs"):
        bundles.read(tmp_path)


def test_a_difference_that_is_no_number_is_the_largest(monkeypatch):
    class Nan(torch.nn.Module):
        def forward(self, x):
            return x * torch.nan

    class Session:
        def run(self, names, feed):
            return [np.zeros_like(feed["ldr"])]

    class Runtime:
        @staticmethod
        def InferenceSession(*args, **kwargs):  # noqa: N802 (ONNX Runtime's name)
            return Session()

    monkeypatch.setattr(onnx_backend, "runtime", lambda: Runtime)
    made = export.Export(Nan(), "x", {}, "g_y.onnx", ("ldr",), 32, 8, 256.0)
    assert export._difference(made, Nan(), "file", (1, 8, 8)) == np.inf
