from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import Cli, codes, files, save, spawn

import hdrcli
from hdrcli import conversion
from hdrcli.cli import options
from hdrcli.color import Transfer
from hdrcli.formats import exr


def test_beside_the_input(cli: Cli, photo: Path) -> None:
    ran = cli("expand", photo, "-m", "linear")
    assert (ran.code, ran.out) == (0, "")
    assert ran.lines == ["photo.png -> photo.exr  64x48, 16.7 % clipped, up to +0.0 stops (linear, NumPy)"]
    image = hdrcli.read("photo.exr")
    assert image.transfer is Transfer.LINEAR
    assert image.pixels.dtype == np.float16
    assert image.white_luminance == 203
    assert image.metadata.header["hdrcli:model"] == "linear"


def test_default_model_brings_light_back(cli: Cli, photo: Path) -> None:
    ran = cli("expand", photo, "-o", "x.exr")
    assert ran.code == 0
    assert "ONNX Runtime" in ran.err
    assert "(default " in ran.err


def test_bundle_by_path_and_by_name(cli: Cli, photo: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("expand", photo, "-o", "path.exr", "--model", tiny_bundle).code == 0
    monkeypatch.setenv("HDRCLI_MODELS", str(tiny_bundle.parent))
    ran = cli("expand", photo, "-o", "name.exr", "--model", "tiny", "-v")
    assert "(tiny 7, ONNX Runtime" in ran.err
    assert "clipped R G B" in ran.err
    assert " s, expand " in ran.err
    result = hdrcli.read("name.exr").pixels
    assert result.max() > 1.5
    assert np.array_equal(result, hdrcli.read("path.exr").pixels)


def test_a_model_is_not_what_the_current_folder_calls_so(cli: Cli, photo: Path) -> None:
    Path("default").mkdir()
    Path("default/checkpoint.pt").write_text("a run of that name")
    assert cli("expand", photo, "--dry-run").code == 0
    ran = cli("expand", photo, "-m", "./default")
    assert (ran.code, len(ran.lines)) == (1, 1)
    assert "default/checkpoint.pt: " in ran.err


@pytest.mark.parametrize(
    ("model", "backend", "words"),
    [
        ("default", "torch", "ONNX only"),
        ("weights.safetensors", "onnx", "weights.safetensors: is no bundle"),
        ("empty", "auto", "no model 'empty'"),
    ],
)
def test_a_model_that_the_backend_does_not_take(cli: Cli, photo: Path, model: str, backend: str, words: str) -> None:
    Path("weights.safetensors").write_bytes(b"")
    Path("empty").mkdir()
    ran = cli("expand", photo, "-m", model, "--backend", backend)
    assert (ran.code, len(ran.lines)) == (4, 1)
    assert words in ran.err


def test_same_input_same_bytes(cli: Cli, photo: Path, tiny_bundle: Path) -> None:
    for name in ("a.exr", "b.exr", "a.hdr", "b.hdr"):
        assert cli("expand", photo, "-o", name, "-m", tiny_bundle).code == 0
    assert Path("a.exr").read_bytes() == Path("b.exr").read_bytes()
    assert Path("a.hdr").read_bytes() == Path("b.hdr").read_bytes()


@pytest.mark.parametrize(("extension", "dtype"), [("exr", np.float16), ("hdr", np.float32)])
def test_format_option(cli: Cli, photo: Path, extension: str, dtype: type) -> None:
    assert cli("expand", photo, "-m", "linear", "--format", extension).code == 0
    assert hdrcli.read(f"photo.{extension}").pixels.dtype == dtype


def test_depth_and_compression(cli: Cli, photo: Path) -> None:
    assert cli("expand", photo, "-m", "linear", "--depth", "float", "--compression", "none").code == 0
    assert hdrcli.read("photo.exr").pixels.dtype == np.float32
    ran = cli("expand", photo, "-m", "linear", "-o", "x.hdr", "--depth", "half")
    assert ran.code == 0
    assert "hdrcli: warning: photo.png: Radiance has one depth, rgbe; half is ignored" in ran.lines


def test_ev_and_white(cli: Cli, photo: Path) -> None:
    assert cli("expand", photo, "-m", "linear", "--ev", "-1", "--white-nits", "100", "--depth", "float").code == 0
    image = hdrcli.read("photo.exr")
    assert image.pixels.max() == pytest.approx(0.5)
    assert image.white_luminance == 100


def test_confidence_layer(cli: Cli, photo: Path, tiny_bundle: Path) -> None:
    import OpenEXR

    assert cli("expand", photo, "-m", tiny_bundle, "--confidence").code == 0
    layer = OpenEXR.File("photo.exr", separate_channels=True).channels()["confidence"].pixels
    assert (layer[0, 0], layer[-1, -1]) == (1, 0)


def test_preview(cli: Cli, photo: Path, tiny_bundle: Path) -> None:
    assert cli("expand", photo, "-m", tiny_bundle, "--preview").code == 0
    assert files() == {"photo.png", "photo.exr", "photo.preview.png"}
    assert hdrcli.read("photo.preview.png").width > 3 * 64


def test_several_beside_and_into_a_folder(cli: Cli) -> None:
    save("a.png")
    save("b.jpg")
    Path("out").mkdir()
    assert cli("expand", "a.png", "b.jpg", "-m", "linear").code == 0
    assert cli("expand", "a.png", "b.jpg", "-m", "linear", "--out-dir", "out", "--format", "hdr").code == 0
    assert files() == {"a.png", "b.jpg", "a.exr", "b.exr", "out/a.hdr", "out/b.hdr"}


def test_quiet_says_nothing(cli: Cli, photo: Path) -> None:
    ran = cli("expand", photo, "-m", "linear", "-o", "x.hdr", "--depth", "half", "-q")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_json(cli: Cli, photo: Path) -> None:
    ran = cli("expand", photo, "missing.png", "-m", "linear", "--json", "--ev", "1")
    assert ran.code == 3
    failed, done = map(json.loads, ran.out.splitlines())
    assert failed["input"] == "missing.png"
    assert failed["exit_code"] == 1
    assert failed["error"] == "missing.png: no such file (check the name)"
    assert (done["input"], done["output"], done["width"], done["height"]) == ("photo.png", "photo.exr", 64, 48)
    assert done["clipped"] == pytest.approx([1 / 6] * 3, abs=1e-3)
    assert done["header"]["hdrcli:exposure"] == "+1 EV"
    assert done["notes"] == []
    assert done["seconds"] >= 0
    assert ran.lines == ["hdrcli: missing.png: no such file (check the name)"]


def test_dry_run_writes_nothing(cli: Cli, photo: Path) -> None:
    Path("bad.png").write_bytes(photo.read_bytes()[:200])
    ran = cli("expand", photo, "bad.png", "-m", "linear", "--dry-run", "--preview")
    assert ran.code == 3
    assert "photo.png -> photo.exr, photo.preview.png  64x48 (dry run, nothing written)" in ran.lines
    assert files() == {"photo.png", "bad.png"}
    (record,) = map(json.loads, cli("expand", photo, "-m", "linear", "--dry-run", "--json").out.splitlines())
    assert record["dry_run"] is True


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_odd_sizes(cli: Cli, tiny_bundle: Path, size: tuple[int, int]) -> None:
    textured = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    for name, picture in (("odd.png", textured), ("odd.jpg", np.full((*size, 3), 255, np.uint8))):
        save(name, picture)
        for extension in ("exr", "hdr"):
            ran = cli("expand", name, "-m", tiny_bundle, "-o", f"{name}.{extension}", "--preview", "--overwrite")
            assert (ran.code, len(ran.lines)) == (0, 1)
            image = hdrcli.read(f"{name}.{extension}")
            assert (image.height, image.width) == size
            assert np.isfinite(image.pixels).all()


def test_sixteen_bit_with_alpha(cli: Cli) -> None:
    picture = np.full((8, 8, 4), 30000, np.uint16)
    picture[:4, :, 3] = 65535
    save("a.png", picture)
    ran = cli("expand", "a.png", "-m", "linear")
    assert ran.code == 0
    assert "warning: a.png: has transparency" in ran.err
    alpha = hdrcli.read("a.exr").metadata.alpha
    assert alpha is not None
    assert alpha[0, 0] == 1


def test_wrong_name_is_a_warning(cli: Cli, photo: Path) -> None:
    photo.rename("photo.jpg")
    ran = cli("expand", "photo.jpg", "-m", "linear")
    assert ran.code == 0
    assert "hdrcli: warning: photo.jpg: is named .jpg but holds png; read as png" in ran.lines


def test_stdin_to_a_file(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    ran = cli("expand", "-", "-o", "x.exr", "-m", "linear")
    assert ran.code == 0
    assert ran.err.startswith("standard input -> x.exr  64x48")


def test_pipeline_gives_the_bytes_of_the_file(cli: Cli, photo: Path) -> None:
    cli("expand", photo, "-m", "linear")
    done = spawn("expand", "-", "-o", "-", "--format", "exr", "-m", "linear", stdin=photo.read_bytes())
    assert done.returncode == 0
    assert done.stdout == Path("photo.exr").read_bytes()
    assert done.stderr.startswith(b"standard input -> standard output")


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_named_pipe(cli: Cli, photo: Path) -> None:
    import threading

    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(photo.read_bytes()))
    writer.start()
    ran = cli("expand", "pipe", "-o", "x.exr", "-m", "linear")
    writer.join()
    assert ran.code == 0


def test_names_with_spaces_and_dashes(cli: Cli) -> None:
    save("-my photo.final.png")
    assert cli("expand", "-m", "linear", "--", "-my photo.final.png").code == 0
    assert "-my photo.final.exr" in files()


def test_overwrite(cli: Cli, photo: Path) -> None:
    Path("photo.exr").write_bytes(b"old")
    assert cli("expand", photo, "-m", "linear").code == 1
    assert Path("photo.exr").read_bytes() == b"old"
    assert cli("expand", photo, "-m", "linear", "--overwrite").code == 0
    assert exr.matches(Path("photo.exr").read_bytes())


def test_progress_bar_only_on_a_terminal(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save("b.png")
    assert "\x1b" not in cli("expand", photo, "b.png", "-m", "linear").err
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda self: True)
    ran = cli("expand", photo, "b.png", "-m", "linear", "--overwrite")
    assert "2/2" in ran.err or "1/2" in ran.err
    assert "photo.png -> photo.exr" in ran.err
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in cli("expand", "missing.png").err


def test_options_repeat_the_library(cli: Cli) -> None:
    assert tuple(options.Compression) == exr.COMPRESSIONS
    assert tuple(options.OutputPrimaries) == ("keep", *conversion.PRIMARIES)
    for projection in options.Projection:
        conversion.ExpandOptions(projection=projection)
    assert "203" in cli("expand", "--help").out
    assert conversion.WHITE_NITS == 203
    defaults = conversion.ExpandOptions()
    assert (defaults.model, defaults.backend, defaults.strength) == ("default", "auto", 1.0)


def test_photo_with_a_profile_keeps_its_primaries(cli: Cli) -> None:
    from PIL import Image, ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    Image.fromarray(cv2.cvtColor(codes(), cv2.COLOR_BGR2RGB)).save("p.png", icc_profile=profile.tobytes())
    assert cli("expand", "p.png", "-m", "linear").code == 0
