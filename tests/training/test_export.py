"""From a run to a bundle: parity, any size and batch, a card that says it all."""

import errno
import os
import shutil
import tomllib

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from hdrcli.errors import MissingModel, ModelError, OutputExists, UnwritableOutput
from hdrcli.inference import bundles, onnx_backend, torch_backend
from hdrcli.training import checkpoint, export


@pytest.fixture(scope="module")
def card(exported_bundle):
    return tomllib.loads((exported_bundle / "model.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def network(trained_run):
    """The averaged generator, as torch has it."""
    from hdrcli.networks import feedback_unet

    state = checkpoint.load(trained_run / checkpoint.CHECKPOINT)
    made = feedback_unet.build(feedback_unet.Config(**state["generator"]["network"]))
    made.load_state_dict({k.removeprefix("g_y."): v for k, v in state["ema"].items()})
    return made.eval()


class TestTheBundle:
    def test_holds_a_card_and_one_file_of_weights(self, exported_bundle):
        assert {p.name for p in exported_bundle.iterdir()} == {"model.toml", "g_y.onnx"}
        bundles.verify(bundles.read(exported_bundle))

    @pytest.mark.parametrize("shape", [(1, 32, 32), (5, 32, 96), (2, 256, 160)])
    def test_takes_any_batch_and_size_and_agrees_with_torch(self, exported_bundle, network, shape):
        count, height, width = shape
        session = onnxruntime.InferenceSession(str(exported_bundle / "g_y.onnx"), providers=["CPUExecutionProvider"])
        rng = np.random.default_rng(0)
        given = {name: rng.random((count, 3, height, width), dtype=np.float32) for name in ("ldr", "clip")}
        (t,) = session.run(None, given)
        with torch.no_grad():
            expected = network(torch.from_numpy(given["ldr"]), torch.from_numpy(given["clip"])).numpy()
        assert t.shape == (count, 3, height, width)
        np.testing.assert_allclose(t, expected, atol=1e-4)

    def test_the_card_says_where_it_comes_from(self, card):
        assert card["format"] == 1
        assert card["model"]["architecture"] == "feedback_unet"
        assert card["network"]["width"] == 4
        assert card["domain"]["inputs"] == ["ldr", "clip"]
        assert (card["domain"]["peak"], card["domain"]["working_size"], card["domain"]["multiple"]) == (256.0, 64, 32)
        assert card["domain"]["parity"] <= 1e-4
        assert (card["training"]["recipe"], card["training"]["seed"], card["training"]["steps"]) == ("paired", 1, 10)
        assert card["training"]["options"]["camera"]["p_measured"] == 0.7
        assert card["data"]["licences"] == [{"licence": "CC0-1.0", "names": ["pano", "photo"]}]
        assert len(card["files"]["g_y.onnx"]) == 64

    def test_the_card_counts_the_parameters(self, card, network):
        assert card["model"]["parameters"] == sum(p.numel() for p in network.parameters())


class TestWhereItGoes:
    """Exporting takes seconds: here the network is only pretended to be exported."""

    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch):
        def quick(export_, path, *, half):
            path.write_bytes(b"network")
            return 0.0

        monkeypatch.setattr(export, "export_onnx", quick)

    def test_an_existing_bundle_is_replaced_only_when_told(self, trained_run, tmp_path):
        target = export.write_bundle(trained_run, tmp_path / "b")
        (target / "old").touch()
        with pytest.raises(OutputExists, match="overwrite"):
            export.write_bundle(trained_run, target)
        assert (target / "old").exists()
        export.write_bundle(trained_run, target, overwrite=True)
        assert {p.name for p in target.iterdir()} == {"model.toml", "g_y.onnx"}
        assert [p.name for p in tmp_path.iterdir()] == ["b"]

    def test_a_folder_of_other_things_is_never_replaced(self, trained_run, tmp_path):
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "a.jpg").touch()
        with pytest.raises(OutputExists, match="no bundle"):
            export.write_bundle(trained_run, tmp_path / "photos", overwrite=True)
        assert (tmp_path / "photos" / "a.jpg").exists()

    def test_a_failed_export_leaves_nothing(self, trained_run, tmp_path, monkeypatch):
        def failing(export_, path, *, half):
            path.write_bytes(b"half")
            raise ModelError("differs")

        monkeypatch.setattr(export, "export_onnx", failing)
        with pytest.raises(ModelError):
            export.write_bundle(trained_run, tmp_path / "b")
        assert list(tmp_path.iterdir()) == []

    def test_a_place_that_can_not_be_written_is_named(self, trained_run, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(UnwritableOutput, match="file"):
            export.write_bundle(trained_run, tmp_path / "file" / "b")

    def test_a_folder_without_a_run_is_refused(self, tmp_path):
        with pytest.raises(MissingModel, match="training run"):
            export.write_bundle(tmp_path, tmp_path / "b")

    def test_weights_that_do_not_fit_are_refused(self, trained_run, tmp_path):
        run = shutil.copytree(trained_run, tmp_path / "run")
        state = checkpoint.load(run / checkpoint.CHECKPOINT)
        state["generator"]["network"]["width"] = 8
        checkpoint.save(state, run)
        with pytest.raises(ModelError, match="don't fit"):
            export.write_bundle(run, tmp_path / "b")


class TestHistory:
    """What the card says of the data, also of that of earlier runs."""

    def card(self, trained_run, history):
        state = checkpoint.load(trained_run / checkpoint.CHECKPOINT) | {"history": history}
        made = export._restore(state, trained_run)
        return tomllib.loads(export.model_card(state, made, {"g_y.onnx": "0" * 64}, {"g_y.onnx": 0.0}))

    def test_scenes_and_licences_of_all_runs_are_listed_once(self, trained_run):
        earlier = {"steps": 3, "minutes": 0.1, "options": {}, "seed": 7, "scenes": [["pano", "CC0-1.0"], ["old", "CC-BY"]]}
        card = self.card(trained_run, [earlier, earlier])
        assert card["data"]["scenes"] == 3
        assert card["data"]["licences"] == [
            {"licence": "CC0-1.0", "names": ["pano", "photo"]},
            {"licence": "CC-BY", "names": ["old"]},
        ]
        assert [(run["seed"], run["scenes"]) for run in card["training"]["started_from"]] == [(7, 2), (7, 2)]
        assert "not_recorded" not in card["data"]

    def test_weights_may_be_stored_as_halves(self, trained_run, exported_bundle, tmp_path):
        folder = export.write_bundle(trained_run, tmp_path / "half", half=True)
        bundle = bundles.read(folder)
        bundles.verify(bundle)
        assert bundle.card["domain"]["parity"] <= 1e-4
        sizes = [(f / "g_y.onnx").stat().st_size for f in (folder, exported_bundle)]
        assert sizes[0] < 0.75 * sizes[1]
        rng = np.random.default_rng(0)
        given = {name: rng.random((1, 3, 64, 64), dtype=np.float32) for name in ("ldr", "clip")}
        half, whole = (onnx_backend.load(bundles.read(f), "cpu")(given) for f in (folder, exported_bundle))
        assert 0 < np.abs(half - whole).max() < 0.01

    @pytest.mark.parametrize(
        ("pairs", "domain"),
        [(0, "HDR scenes seen"), (1, "pairs of LDR photos and HDR pictures; HDR scenes seen"), (2, "pairs of LDR photos")],
    )
    def test_pairs_are_told_from_virtual_photos(self, pairs, domain):
        state = {"scenes": [["a", "CC0-1.0"], ["b", "CC0-1.0"]], "photos": [], "pairs": pairs}
        data = export._data(state, [])
        assert data["domain"].startswith(domain)
        assert ("HDR scenes" in data["domain"]) == (pairs < 2)
        assert data.get("pairs", 0) == pairs

    def test_runs_that_recorded_no_scenes_are_tolerated_and_named(self, trained_run):
        card = self.card(trained_run, [{"steps": 3, "minutes": 0.1, "options": {"threads": None}}])
        assert card["data"]["scenes"] == 2
        assert "started from" in card["data"]["not_recorded"]
        assert card["training"]["started_from"] == [{"steps": 3, "minutes": 0.1, "options": {}}]


class TestWeights:
    @pytest.fixture
    def run(self, trained_run, tmp_path):
        (tmp_path / "run").mkdir()
        shutil.copy(trained_run / checkpoint.CHECKPOINT, tmp_path / "run")
        return tmp_path / "run"

    def test_the_torch_backend_reads_them_and_agrees_with_onnx(self, run, exported_bundle):
        path = export.write_weights(run)
        assert {p.name for p in run.iterdir()} == {checkpoint.CHECKPOINT, "g_y.safetensors"}
        made, reference = torch_backend.load(path, "cpu"), onnx_backend.load(bundles.read(exported_bundle), "cpu")
        rng = np.random.default_rng(0)
        given = {name: rng.random((1, 3, 64, 96), dtype=np.float32) for name in ("ldr", "clip")}
        np.testing.assert_allclose(made(given), reference(given), atol=1e-4)
        assert (made.spec.inputs, made.spec.working_size) == (reference.spec.inputs, reference.spec.working_size)

    def test_a_folder_without_a_run_is_refused(self, tmp_path):
        with pytest.raises(MissingModel, match="training run"):
            export.write_weights(tmp_path)

    def test_a_failed_write_leaves_the_older_file_and_nothing_else(self, run, monkeypatch):
        (run / "g_y.safetensors").write_bytes(b"older")

        def full(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UnwritableOutput, match=r"g_y\.safetensors.*No space left"):
            export.write_weights(run)
        assert (run / "g_y.safetensors").read_bytes() == b"older"
        assert {p.name for p in run.iterdir()} == {checkpoint.CHECKPOINT, "g_y.safetensors"}

    @pytest.mark.parametrize("network", [{"stem": 3}, {"colour": 1}])
    def test_options_of_another_version_are_refused(self, run, network):
        state = checkpoint.load(run / checkpoint.CHECKPOINT)
        state["generator"]["network"] |= network
        checkpoint.save(state, run)
        with pytest.raises(ModelError, match="don't fit"):
            export.write_weights(run)


class TestScores:
    def test_are_put_on_the_card_and_nothing_else_is_changed(self, exported_bundle, tmp_path):
        bundle = shutil.copytree(exported_bundle, tmp_path / "bundle")
        before = bundles.read(bundle).card
        export.add_scores(bundle, {"clipped_log2_rmse": np.float32(1.5), "protocol": "first"})
        export.add_scores(bundle, {"clipped_log2_rmse": np.float32(1.25), "protocol": "eight views"})
        assert {p.name for p in bundle.iterdir()} == {"model.toml", "g_y.onnx"}
        assert bundles.read(bundle).card == {**before, "scores": {"clipped_log2_rmse": 1.25, "protocol": "eight views"}}
        bundles.verify(bundles.read(bundle))

    def test_a_folder_without_a_card_is_refused(self, tmp_path):
        with pytest.raises(ModelError, match="card"):
            export.add_scores(tmp_path, {})


def test_a_difference_from_torch_is_refused(tmp_path, monkeypatch):
    class Plain(nn.Module):
        def forward(self, ldr):
            return ldr * 2

    monkeypatch.setattr(export, "_difference", lambda *arguments: 1e-3)
    made = export.Export(Plain(), "plain", {}, "g_y.onnx", ("ldr",), 64, 8, 256.0)
    with pytest.raises(ModelError, match=r"differ by 0\.001"):
        export.export_onnx(made, tmp_path / "g_y.onnx")
    assert not (tmp_path / "g_y.onnx").exists()


def test_the_file_tells_nothing_of_the_machine_that_made_it(exported_bundle):
    """The exporter notes stack traces, with paths, in every node."""
    content = (exported_bundle / "g_y.onnx").read_bytes()
    assert b".py" not in content
    assert export.__file__.rpartition(os.sep)[0].encode() not in content
