"""ONNX Runtime and torch run the same generators, and run nothing else."""

import hashlib
import json
import shutil
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from hdrcli.errors import MissingExtra, MissingModel, MissingRequirement, ModelError, UsageError
from hdrcli.inference import bundles, generator, onnx_backend, torch_backend


def inputs(height=64, width=96, count=1, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.random((count, 3, height, width), dtype=np.float32) for name in ("ldr", "clip")}


@pytest.fixture(scope="module")
def onnx_generator(exported_bundle):
    return onnx_backend.load(bundles.read(exported_bundle), "cpu")


@pytest.fixture
def safetensors_file(trained_run, tmp_path):
    """The run's averaged weights, with the description that makes them ours."""
    import torch
    from safetensors.torch import save_file

    state = torch.load(trained_run / "checkpoint.pt", weights_only=True)
    weights = {k.removeprefix("g_y."): v.contiguous() for k, v in state["ema"].items()}
    path = tmp_path / "weights.safetensors"
    save_file(weights, path, metadata={torch_backend.METADATA_KEY: json.dumps(state["generator"])})
    return path


class TestParity:
    @pytest.mark.parametrize("shape", [(32, 32), (64, 96), (160, 32)])
    def test_torch_and_onnx_agree_on_a_run_and_its_bundle(self, trained_run, onnx_generator, shape):
        torch_generator = torch_backend.load(trained_run, "cpu")
        given = inputs(*shape)
        np.testing.assert_allclose(torch_generator(given), onnx_generator(given), atol=1e-4)
        assert torch_generator.spec.inputs == onnx_generator.spec.inputs
        assert torch_generator.spec.peak == onnx_generator.spec.peak

    def test_every_kind_of_weights_file_gives_the_same(self, trained_run, safetensors_file, tmp_path, onnx_generator):
        renamed = shutil.copy(trained_run / "checkpoint.pt", tmp_path / "weights.pt")
        folder = tmp_path / "bundle"
        folder.mkdir()
        shutil.copy(safetensors_file, folder / torch_backend.WEIGHTS)
        expected = onnx_generator(inputs())
        for path in (trained_run / "checkpoint.pt", safetensors_file, tmp_path / "weights.pt", folder):
            assert torch_backend.is_weights(path)
            np.testing.assert_allclose(torch_backend.load(path, "cpu")(inputs()), expected, atol=1e-4)
        assert renamed

    def test_the_digest_is_that_of_the_file(self, trained_run, safetensors_file):
        for path, file in ((trained_run, trained_run / "checkpoint.pt"), (safetensors_file, safetensors_file)):
            expected = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
            assert torch_backend.load(path, "cpu").spec.digest == expected

    def test_what_ran_is_reported(self, trained_run, onnx_generator):
        assert onnx_generator.ran_on.startswith("ONNX Runtime ")
        assert onnx_generator.ran_on.endswith("CPU")
        assert torch_backend.load(trained_run, "cpu").ran_on.startswith("PyTorch ")

    def test_same_numbers_twice(self, trained_run, onnx_generator):
        torch_generator = torch_backend.load(trained_run, "cpu")
        for run in (onnx_generator, torch_generator):
            assert run(inputs()).tobytes() == run(inputs()).tobytes()


class TestForeignWeights:
    def test_code_in_a_pickle_is_refused_and_not_run(self, tmp_path):
        import torch

        class Trap:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        torch.save({"generator": {}, "ema": {"g_y.x": Trap()}}, tmp_path / "evil.pt")
        with pytest.raises(ModelError, match="more than weights"):
            torch_backend.load(tmp_path / "evil.pt")
        assert not (tmp_path / "ran").exists()

    def test_safetensors_of_others_are_refused(self, tmp_path):
        import torch
        from safetensors.torch import save_file

        save_file({"layer.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
        with pytest.raises(ModelError, match="no generator of hdrcli"):
            torch_backend.load(tmp_path / "other.safetensors")

    def test_weights_that_do_not_fit_their_description_are_refused(self, trained_run, tmp_path):
        import torch

        state = torch.load(trained_run / "checkpoint.pt", weights_only=True)
        state["generator"]["network"]["width"] = 8
        torch.save(state, tmp_path / "wide.pt")
        with pytest.raises(ModelError, match=r"wide\.pt"):
            torch_backend.load(tmp_path / "wide.pt")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("architecture", "os"),
            ("architecture", "../x"),
            ("network", {"colour": 1}),
            ("network", ["width"]),
            ("peak", -5.0),
            ("working_size", float("inf")),
            ("inputs", ["depth"]),
        ],
    )
    def test_descriptions_that_make_no_sense_are_refused(self, trained_run, safetensors_file, tmp_path, key, value):
        import torch
        from safetensors.torch import load_file, save_file

        state = torch.load(trained_run / "checkpoint.pt", weights_only=True)
        state["generator"][key] = value
        torch.save(state, tmp_path / "odd.pt")
        metadata = {torch_backend.METADATA_KEY: json.dumps(state["generator"])}
        save_file(load_file(safetensors_file), tmp_path / "odd.safetensors", metadata=metadata)
        for name in ("odd.pt", "odd.safetensors"):
            with pytest.raises(ModelError, match=name):
                torch_backend.load(tmp_path / name)

    @pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
    @pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"PK\x03\x04 truncated"])
    def test_damaged_files_are_refused(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=name):
            torch_backend.load(tmp_path / name)

    def test_an_empty_folder_holds_no_weights(self, tmp_path):
        assert not torch_backend.is_weights(tmp_path)
        with pytest.raises(MissingModel):
            torch_backend.load(tmp_path)
        assert not torch_backend.is_weights(tmp_path / ("n" * 300))
        assert not torch_backend.is_weights(tmp_path / "nothing.pt")

    def test_a_bundle_says_that_it_holds_onnx_only(self, exported_bundle):
        with pytest.raises(MissingModel, match=r"ONNX only.*run folder.*g_y\.safetensors"):
            torch_backend.load(exported_bundle)


class TestForeignBundles:
    def spoiled(self, exported_bundle, tmp_path, content):
        folder = shutil.copytree(exported_bundle, tmp_path / "spoiled")
        card = (folder / bundles.CARD).read_text(encoding="utf-8")
        old = bundles.read(folder).card["files"]["g_y.onnx"]
        (folder / "g_y.onnx").write_bytes(content)
        (folder / bundles.CARD).write_text(card.replace(old, hashlib.sha256(content).hexdigest()), encoding="utf-8")
        return bundles.read(folder)

    def network(self, inputs_, output_shape):
        """An ONNX network with these inputs that gives zeros."""
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        shape = numpy_helper.from_array(np.array(output_shape, np.int64), "shape")
        node = helper.make_node("ConstantOfShape", ["shape"], ["t"])
        values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3, "h", "w"]) for n in inputs_]
        out = [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)]
        graph = helper.make_graph([node], "zeros", values, out, [shape])
        model = helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
        model.ir_version = 9
        return model.SerializeToString()

    def test_a_file_that_is_no_network_is_refused(self, exported_bundle, tmp_path):
        with pytest.raises(ModelError, match="no network"):
            onnx_backend.load(self.spoiled(exported_bundle, tmp_path, b"no network"), "cpu")

    def test_other_inputs_than_on_the_card_are_refused(self, exported_bundle, tmp_path):
        with pytest.raises(ModelError, match="inputs"):
            onnx_backend.load(self.spoiled(exported_bundle, tmp_path, self.network(["image"], (1, 3, 8, 8))), "cpu")

    def test_an_output_of_another_shape_is_refused(self, exported_bundle, tmp_path):
        content = self.network(["ldr", "clip"], (1, 3, 8, 8))
        loaded = onnx_backend.load(self.spoiled(exported_bundle, tmp_path, content), "cpu")
        with pytest.raises(ModelError, match="shape"):
            loaded(inputs())

    def test_sides_it_can_not_take_are_a_model_error(self, onnx_generator):
        with pytest.raises(ModelError, match="ONNX Runtime"):
            onnx_generator(inputs(height=33, width=47))

    def test_weights_are_checked_before_they_run(self, exported_bundle, tmp_path):
        folder = shutil.copytree(exported_bundle, tmp_path / "tampered")
        (folder / "g_y.onnx").write_bytes(self.network(["ldr", "clip"], (1, 3, 8, 8)))
        with pytest.raises(ModelError, match="SHA-256"):
            onnx_backend.load(bundles.read(folder), "cpu")


class TestDevices:
    @pytest.mark.parametrize(
        ("text", "kind"), [("auto", ("auto", 0)), ("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)), ("cuda:3", ("cuda", 3))]
    )
    def test_names(self, text, kind):
        assert generator.device_kind(text) == kind

    @pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:x", "cpu:1", "CUDA", "cuda:-1"])
    def test_other_names_are_refused(self, text, exported_bundle, trained_run):
        with pytest.raises(UsageError, match="device"):
            generator.device_kind(text)
        with pytest.raises(UsageError):
            onnx_backend.load(bundles.read(exported_bundle), text)
        with pytest.raises(UsageError):
            torch_backend.load(trained_run, text)

    def test_cuda_that_is_not_there_is_refused_by_both(self, exported_bundle, trained_run, monkeypatch):
        import torch

        monkeypatch.setattr(onnx_backend, "cuda_driver_present", lambda: False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        with pytest.raises(MissingRequirement, match="CUDA"):
            onnx_backend.load(bundles.read(exported_bundle), "cuda")
        with pytest.raises(MissingRequirement, match="CUDA"):
            torch_backend.load(trained_run, "cuda:0")
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        with pytest.raises(UsageError, match="1 CUDA device"):
            torch_backend.load(trained_run, "cuda:1")


class FakeRuntime(ModuleType):
    """An ONNX Runtime with a CUDA that fails where the test wants: "create", "silently", "run", "network" or nowhere."""

    __version__ = "9.9"
    SessionOptions = SimpleNamespace

    def __init__(self, fault=""):
        super().__init__("onnxruntime")
        self.fault, self.sessions = fault, []

    def get_available_providers(self):
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def preload_dlls(self):
        print("Failed to load libcudnn.so.9")

    def InferenceSession(self, content, options, providers, enable_fallback=1):  # noqa: N802
        assert not enable_fallback
        session = FakeSession(self.fault, providers)
        self.sessions.append(session)
        return session


class FakeSession:
    def __init__(self, fault, providers):
        self.cuda, self.fault, self.options, self.fallback = len(providers) > 1, fault, providers[0][1], True
        if self.cuda and fault == "create":
            raise RuntimeError("CUDA failure 35")

    def disable_fallback(self):
        self.fallback = False

    def get_providers(self):
        return ["CUDAExecutionProvider"] * (self.cuda and self.fault != "silently") + ["CPUExecutionProvider"]

    def get_inputs(self):
        return [SimpleNamespace(name="ldr"), SimpleNamespace(name="clip")]

    def run(self, names, given):
        assert not self.fallback
        assert {value.shape for value in given.values()} == {(1, 3, 32, 32)}
        if self.fault == "network" or (self.cuda and self.fault == "run"):
            raise RuntimeError("no kernel image is available for execution on the device")
        return [np.zeros_like(given["ldr"])]


class TestCudaIsProven:
    @pytest.fixture
    def load(self, exported_bundle, monkeypatch):
        def load(fault, device):
            monkeypatch.setattr(onnx_backend, "cuda_driver_present", lambda: True)
            monkeypatch.setitem(sys.modules, "onnxruntime", ort := FakeRuntime(fault))
            return onnx_backend.load(bundles.read(exported_bundle), device), ort

        return load

    @pytest.mark.parametrize(("device", "number"), [("auto", 0), ("cuda", 0), ("cuda:2", 2)])
    def test_where_it_works_it_is_used(self, load, device, number, capfd):
        loaded, ort = load("", device)
        assert loaded.ran_on == "ONNX Runtime 9.9, CUDA"
        assert [s.options for s in ort.sessions] == [{"device_id": number}]
        assert capfd.readouterr() == ("", "")

    def test_the_cpu_is_not_asked_for_cuda(self, load):
        loaded, ort = load("create", "cpu")
        assert loaded.ran_on == "ONNX Runtime 9.9, CPU"
        assert [s.cuda for s in ort.sessions] == [False]

    @pytest.mark.parametrize("fault", ["create", "silently", "run"])
    def test_where_it_fails_auto_takes_the_cpu_and_says_so(self, load, fault, capfd):
        loaded, ort = load(fault, "auto")
        assert loaded.ran_on == "ONNX Runtime 9.9, CPU"
        assert not ort.sessions[-1].cuda
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("fault", ["create", "silently", "run"])
    def test_where_it_fails_and_is_asked_for_it_is_missing(self, load, fault):
        with pytest.raises(MissingRequirement, match=r"--device cuda:1: .*CUDA") as caught:
            load(fault, "cuda:1")
        assert caught.value.__cause__ is not None

    def test_a_network_that_runs_nowhere_is_no_fault_of_cuda(self, load):
        with pytest.raises(ModelError, match="fails in ONNX Runtime"):
            load("network", "cuda")


class TestRuntimeMissing:
    def test_onnxruntime_that_is_not_installed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(MissingRequirement, match="pip install onnxruntime-gpu") as caught:
            onnx_backend.runtime()
        assert not isinstance(caught.value, MissingExtra)

    @pytest.mark.parametrize("error", ["ImportError('libc.so.7: cannot open')", "ModuleNotFoundError('libc.so.7', name='x')"])
    def test_onnxruntime_that_can_not_be_loaded(self, monkeypatch, tmp_path, error):
        (tmp_path / "onnxruntime.py").write_text(f"raise {error}")
        monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(MissingRequirement, match=r"can't be loaded: libc\.so\.7"):
            onnx_backend.runtime()


class TestChecked:
    spec = generator.GeneratorSpec("g", "1", ("ldr",), 64, 8, 256.0, "here")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite_are_refused(self, value):
        given = {"ldr": np.zeros((1, 3, 8, 8), np.float32)}
        t = given["ldr"].copy()
        t[0, 1, 2, 3] = value
        with pytest.raises(ModelError, match="finite"):
            generator.checked(t, given, self.spec)

    def test_radiance_is_never_negative(self):
        assert generator.from_t(np.float32([-0.5, 0.0, 1.0]), 256.0).tolist() == pytest.approx([0, 0, 256], rel=1e-5)
