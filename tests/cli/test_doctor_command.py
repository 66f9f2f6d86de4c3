from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, Ran
from packaging.requirements import Requirement
from test_app import HEAVY, modules_after

import hdrcli
from hdrcli import formats
from hdrcli.cli import doctor
from hdrcli.cli.doctor import State
from hdrcli.errors import MissingExtra
from hdrcli.formats import png, radiance
from hdrcli.inference import bundles, onnx_backend


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the second that torch takes to import."""
    give_versions(monkeypatch, torch=None)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch):
    """Leave only these groups of checks."""

    def leave(*names: str) -> None:
        for name in {"_system", "_packages", "_extras", "_bundles", "_providers", "_codecs"} - set(names):
            monkeypatch.setattr(doctor, name, lambda: iter(()))

    return leave


def give_versions(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Let these distributions (- written as _) have another version, or none."""
    real = doctor._version
    known = {name.replace("_", "-"): version for name, version in versions.items()}
    monkeypatch.setattr(doctor, "_version", lambda name: known[name] if name in known else real(name))


def lines(ran: Ran) -> dict[str, tuple[str, str]]:
    """State and text by name."""
    assert "Traceback" not in ran.out + ran.err
    table = [line for line in ran.out.splitlines()[:-1] if line]
    return {line[9:34].strip(): (line[:8].strip(), line[34:]) for line in table}


def test_all_is_well_here(cli: Cli) -> None:
    ran = cli("doctor")
    assert (ran.code, ran.err) == (0, "")
    found = lines(ran)
    assert found["hdrcli"] == ("ok", hdrcli.__version__)
    assert found["numpy"] == ("ok", f"{np.__version__} (>=1.26)")
    for name in formats.names():
        state, text = found[f"file type {name}"]
        assert state == "ok"
        assert ("written" in text) == hasattr(formats.module_for_name(name), "write")
    assert "as on the card" in found["model default"][1]
    assert found["ONNX Runtime, CPU"][0] == "ok"
    assert "default" in found["ONNX Runtime, CPU"][1]
    assert found["torch"][0] == "ok"
    assert {state for state, _ in found.values()} <= {"ok", "absent"}
    assert ran.out.endswith("\nno faults, no warnings\n")
    assert "\x1b" not in ran.out


def test_every_package_that_is_declared_is_tried(cli: Cli, alone) -> None:
    alone("_packages")
    wanted = [Requirement(text) for text in importlib.metadata.requires("hdrcli") or ()]
    names = {r.name for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})}
    assert set(lines(cli("doctor"))) == names
    assert len(names) > 8


def test_json(cli: Cli, no_torch: None) -> None:
    ran = cli("doctor", "--json")
    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1)
    report = json.loads(ran.out)
    assert (report["version"], report["faults"], report["warnings"], report["exit_code"]) == (hdrcli.__version__, 0, 0, 0)
    assert {c["group"] for c in report["checks"]} == {"system", "packages", "extras", "models", "providers", "file types"}
    assert all(c["state"] in ("ok", "absent") and c["text"] for c in report["checks"])


def test_a_package_that_is_not_installed(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_packages")
    give_versions(monkeypatch, imageio=None)
    ran = cli("doctor")
    assert ran.code == 4
    assert lines(ran)["imageio"] == ("FAULT", "is not installed (pip install 'imageio>=2.36')")
    assert ran.out.endswith("\n1 fault, no warnings\n")


def test_a_package_that_can_not_be_imported(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_packages")
    monkeypatch.setitem(sys.modules, "imageio", None)
    ran = cli("doctor")
    assert ran.code == 4
    state, text = lines(ran)["imageio"]
    assert state == "FAULT"
    assert text.startswith("can't be imported: ")
    assert text.endswith("(pip install --force-reinstall imageio)")


def test_a_package_that_breaks_when_it_is_imported(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_packages")
    Path("imageio.py").write_text("raise RuntimeError('built for another\\nprocessor')", encoding="utf-8")
    monkeypatch.delitem(sys.modules, "imageio", raising=False)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    ran = cli("doctor")
    assert ran.code == 1
    assert lines(ran)["imageio"] == ("FAULT", "RuntimeError: built for another processor")
    ran = cli("doctor", "--debug")
    assert "Traceback" in ran.err
    assert "Traceback" not in ran.out


def test_a_package_that_is_too_old(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_packages")
    give_versions(monkeypatch, pillow="9.5.0")
    ran = cli("doctor")
    assert ran.code == 4
    assert lines(ran)["pillow"] == ("FAULT", "9.5.0 is not >=11 (pip install 'pillow>=11')")


def test_a_module_that_is_only_an_empty_folder(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    """What uninstalling onnxruntime beside onnxruntime-gpu leaves."""
    alone("_packages", "_providers")
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    ran = cli("doctor")
    found = lines(ran)
    assert ran.code == 1
    runtime = next(name for name in found if name.startswith("onnxruntime"))
    assert found[runtime][0] == "FAULT"
    assert "its folder holds no module" in found[runtime][1]
    assert f"--force-reinstall {runtime})" in found[runtime][1]
    assert found["ONNX Runtime, CPU"][0] == "FAULT"


def blames_imports(found: dict[str, tuple[str, str]]) -> bool:
    faults = [text for state, text in found.values() if state == "FAULT"]
    words = ("can't be imported", "can't be loaded", "needs the package")
    return bool(faults) and all(any(word in text for word in words) for text in faults)


@pytest.mark.parametrize("name", ["cv2", "OpenEXR", "PIL"])
def test_what_can_not_be_imported_is_blamed(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    alone("_packages", "_codecs")
    monkeypatch.setitem(sys.modules, name, None)
    ran = cli("doctor")
    assert ran.code == 4
    assert blames_imports(lines(ran))
    assert "file type radiance" in lines(ran)


@pytest.mark.parametrize("name", ["numpy", "onnxruntime", "packaging"])
def test_nothing_keeps_it_from_looking_further(name: str) -> None:
    """In a process of its own: most of hdrcli has imported numpy here."""
    script = (
        f"import sys; sys.modules[{name!r}] = None; from hdrcli.cli import app, doctor; real = doctor._version; "
        "doctor._version = lambda n: None if n == 'torch' else real(n); sys.exit(app.main(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    ran = Ran(done.returncode, done.stdout, done.stderr)
    assert (ran.code, ran.err) == (4, ""), ran.out
    found = lines(ran)
    assert blames_imports(found)
    assert {"temporary folder", "file type exr"} <= set(found)
    assert name == "numpy" or found["model default"][0] == "ok"


@pytest.mark.parametrize(
    ("here", "beside", "code", "name", "state"),
    [
        ("onnxruntime_gpu", "onnxruntime", 1, "onnxruntime twice", "FAULT"),
        ("opencv_python_headless", "opencv_python", 0, "opencv twice", "warning"),
    ],
)
def test_packages_that_disturb_each_other(
    cli: Cli, alone, monkeypatch: pytest.MonkeyPatch, here: str, beside: str, code: int, name: str, state: str
) -> None:
    alone("_packages")
    give_versions(monkeypatch, **{here: "99", beside: "98"})
    ran = cli("doctor")
    assert ran.code == code
    found = lines(ran)[name]
    assert found[0] == state
    assert beside.replace("_", "-") in found[1]


def test_a_package_that_stands_in_for_another(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_packages")
    give_versions(monkeypatch, opencv_python_headless=None, opencv_python="5.0")
    ran = cli("doctor")
    assert ran.code == 0
    state, text = lines(ran)["opencv-python-headless"]
    assert (state, text[:43]) == ("warning", "opencv-python 5.0 stands in its place (pip ")
    assert ran.out.endswith("no faults, 1 warning\n")


def test_a_source_tree_that_is_not_installed(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_system", "_packages", "_extras")
    give_versions(monkeypatch, hdrcli=None)
    found = lines(cli("doctor"))
    assert found["hdrcli"][0] == "warning"
    assert "numpy" not in found


def test_extras(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_extras")
    give_versions(monkeypatch, torch=None)
    assert lines(cli("doctor"))["extra train"] == ("absent", "lacks torch (pip install 'hdrcli[train]')")
    give_versions(monkeypatch, torch=None, onnx="1.0")
    ran = cli("doctor")
    assert lines(ran)["extra train"] == ("warning", "too old or too new: onnx 1.0 (pip install 'hdrcli[train]')")
    assert ran.code == 0


def test_torch_that_is_broken(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_extras")
    monkeypatch.setitem(sys.modules, "torch", None)
    ran = cli("doctor")
    assert ran.code == 4
    assert lines(ran)["torch"][0] == "FAULT"


@pytest.mark.parametrize(("total", "state"), [(4.0, State.OK), (0.0, State.FAULT)])
def test_torch_on_a_card(monkeypatch: pytest.MonkeyPatch, total: float, state: State) -> None:
    cuda = types.SimpleNamespace(is_available=lambda: True, get_device_name=lambda: "a card")
    ones = types.SimpleNamespace(sum=lambda: total)
    versions = {"__version__": "2", "version": types.SimpleNamespace(cuda="13")}
    fake = types.SimpleNamespace(cuda=cuda, ones=lambda size, device: ones, **versions)
    monkeypatch.setitem(sys.modules, "torch", fake)
    check = doctor._tried("torch", doctor._torch)
    assert check.state is state
    assert state is State.FAULT or check.text == "2, CUDA 13 on a card"


def test_a_bundle_that_was_tampered_with(cli: Cli, alone, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_bundles")
    shutil.copytree(tiny_bundle, "models/tiny")
    Path("models/tiny/g_y.onnx").write_bytes(b"other weights")
    shutil.copytree(tiny_bundle, "models/whole")
    monkeypatch.setenv("HDRCLI_MODELS", "models")
    ran = cli("doctor")
    found = lines(ran)
    assert ran.code == 1
    assert found["model tiny"][0] == "FAULT"
    assert "models/tiny/g_y.onnx: differs from its model card" in found["model tiny"][1]
    assert found["model whole"] == ("ok", "version 7, 1 file as on the card, models/whole")
    assert found["model default"][0] == "ok"


def test_no_default_model(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_bundles", "_providers")
    monkeypatch.setattr(bundles, "search_folders", lambda: ())
    ran = cli("doctor")
    assert ran.code == 4
    assert set(lines(ran)) == {"model default"}
    assert lines(ran)["model default"][0] == "FAULT"


def test_a_model_that_is_whole_and_does_not_run(cli: Cli, alone, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_providers")
    default = Path(shutil.copytree(tiny_bundle, "models/default"))
    card = default / "model.toml"
    card.write_text(card.read_text(encoding="utf-8").replace('["ldr", "clip"]', '["ldr"]'), encoding="utf-8")
    monkeypatch.setenv("HDRCLI_MODELS", "models")
    ran = cli("doctor")
    assert ran.code == 1
    assert "inputs" in lines(ran)["ONNX Runtime, CPU"][1]


def test_a_card_that_is_not_used(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver without the libraries: no fault, as the CPU does the work, but worth a warning."""
    alone("_providers")
    monkeypatch.setattr(onnx_backend, "_session", no_session_on_a_card(onnx_backend._session))
    monkeypatch.setattr(onnx_backend, "cuda_driver_present", lambda: True)
    ran = cli("doctor")
    assert ran.code == 0
    found = lines(ran)
    assert found["ONNX Runtime, CPU"][0] == "ok"
    state, text = found["ONNX Runtime, CUDA"]
    assert state == "warning"
    assert "the CPU does the work" in text
    assert "pip install 'hdrcli[cuda]'" in text


def no_session_on_a_card(real):
    def session(ort, spec, content, card=None):
        if card is not None:
            raise RuntimeError("libcublas.so: no such file")
        return real(ort, spec, content)

    return session


def test_a_card_that_is_used(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_providers")

    def load(bundle, device):
        generator = real(bundle, "cpu")
        generator.ran_on = f"fake on {device}"
        return generator

    real = onnx_backend.load
    monkeypatch.setattr(onnx_backend, "load", load)
    monkeypatch.setattr(onnx_backend, "cuda_driver_present", lambda: True)
    found = lines(cli("doctor"))
    assert found["ONNX Runtime, CUDA"][0] == "ok"
    assert found["ONNX Runtime, CUDA"][1].startswith("fake on cuda: default ")


def test_a_format_that_gives_other_values(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_codecs")
    real = radiance.read

    def darker(path):
        image = real(path)
        return hdrcli.Image(image.pixels * np.float32(0.9), image.transfer)

    monkeypatch.setattr(radiance, "read", darker)
    ran = cli("doctor")
    assert ran.code == 1
    state, text = lines(ran)["file type radiance"]
    assert state == "FAULT"
    assert text.startswith("HDR: what comes back has ")
    assert "of 1152 values that are far from those written" in text
    assert lines(ran)["file type exr"][0] == "ok"


def test_a_format_that_is_only_read_gets_a_picture_by_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(png, "write")
    assert doctor._codec("png") == "read (LDR)"
    monkeypatch.setattr(png, "EXTENSIONS", (".xyz",))
    assert doctor._codec("png") == "not tried: nothing here writes such a file"


def test_a_format_whose_extra_is_not_installed_is_no_fault(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_codecs")

    def read(path):
        raise MissingExtra("pillow-heif", "heif", purpose="reading HEIC")

    monkeypatch.setattr(png, "read", read)
    ran = cli("doctor")
    assert ran.code == 0
    text = "reading HEIC needs the package pillow-heif (install it with: pip install 'hdrcli[heif]')"
    assert lines(ran)["file type png"] == ("absent", text)


def test_a_format_that_fails_does_not_name_our_temporary_file(alone, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_codecs")
    monkeypatch.setattr(png, "matches", lambda head: False)
    ran = cli("doctor")
    assert ran.code == 1
    assert lines(ran)["file type png"][1].startswith("is not an image of a known type")


def test_a_full_disk(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_system")
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5 * 10**8))
    ran = cli("doctor")
    assert ran.code == 0
    expected = ("warning", "can be written, 0.5 GB free (make room, or name another in TMPDIR)")
    assert lines(ran)["temporary folder"] == expected

    def fail(**options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryDirectory", fail)
    ran = cli("doctor")
    assert ran.code == 1
    expected = ("FAULT", "can't be written: No space left on device (name another in TMPDIR)")
    assert lines(ran)["temporary folder"] == expected


def test_the_memory_is_the_smallest_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = doctor._memory_limit()
    assert limit is not None
    assert 0 < limit <= machine
    monkeypatch.setattr(resource, "getrlimit", lambda which: (100 << 20, -1))
    assert doctor._memory_limit() == 100 << 20


def test_a_python_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.9.1")
    check = doctor._tried("python", doctor._python)
    assert (check.state, check.missing) == (State.FAULT, True)
    assert "3.9.1 is not >=3.11" in check.text


def test_another_version_is_installed_than_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    give_versions(monkeypatch, hdrcli="0.0.1")
    assert doctor._own_version().state is State.WARNING


def test_a_check_that_breaks_is_a_finding(cli: Cli, alone, monkeypatch: pytest.MonkeyPatch) -> None:
    alone("_codecs")

    def broken():
        raise ZeroDivisionError("oops")
        yield

    monkeypatch.setattr(doctor, "_bundles", broken)
    ran = cli("doctor")
    assert ran.code == 1
    assert lines(ran)["models"] == ("FAULT", "ZeroDivisionError: oops")
    assert lines(ran)["file type exr"][0] == "ok"


def test_the_home_folder_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert doctor._shared("in /home/somebody/models\n") == "in ~/models\\n"
    monkeypatch.setenv("HOME", "/")
    assert doctor._shared("/models") == "/models"


def test_help_is_light(cli: Cli) -> None:
    assert not modules_after("doctor", "--help") & set(HEAVY)
    out = cli("doctor", "-h").out
    assert "hdrcli doctor --json" in out
    assert max(map(len, out.splitlines())) <= 80
