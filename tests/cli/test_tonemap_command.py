from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, files, save

import hdrcli
from hdrcli import registry
from hdrcli.color import Transfer
from hdrcli.image import Image


@pytest.fixture
def scene() -> Path:
    light = np.geomspace(0.01, 100, 32 * 24, dtype=np.float32).reshape(24, 32, 1).repeat(3, 2)
    hdrcli.write(Image(light, Transfer.LINEAR), "scene.exr")
    return Path("scene.exr")


def test_beside_the_input(cli: Cli, scene: Path) -> None:
    ran = cli("tonemap", scene)
    assert (ran.code, ran.out) == (0, "")
    assert ran.lines == ["scene.exr -> scene.png  32x24 (reinhard, +0 EV)"]
    image = hdrcli.read("scene.png")
    assert image.pixels.dtype == np.uint8
    assert image.pixels[0, 0, 0] < 64 < image.pixels[-1, -1, 0]


@pytest.mark.parametrize("operator", registry.names("hdrcli.tonemapping"))
def test_every_operator(cli: Cli, scene: Path, operator: str) -> None:
    assert cli("tonemap", scene, "-t", operator, "-o", f"{operator}.png", "--bits", "16").code == 0
    assert hdrcli.read(f"{operator}.png").pixels.dtype == np.uint16


def test_parameters_and_exposure_count(cli: Cli, scene: Path) -> None:
    for name, extra in (("plain", []), ("p", ["-p", "mu=50"]), ("ev", ["--ev", "-3"])):
        assert cli("tonemap", scene, "-t", "mulaw", "-o", f"{name}.png", *extra).code == 0
    plain, p, ev = (hdrcli.read(f"{n}.png").pixels.mean() for n in ("plain", "p", "ev"))
    assert p < plain
    assert ev < plain


def test_jpeg_quality(cli: Cli, scene: Path) -> None:
    assert cli("tonemap", scene, "-o", "fine.jpg").code == 0
    assert cli("tonemap", scene, "-o", "coarse.jpg", "--quality", "10").code == 0
    assert Path("coarse.jpg").stat().st_size < Path("fine.jpg").stat().st_size


def test_there_and_back(cli: Cli, tiny_bundle: Path) -> None:
    save("photo.png")
    assert cli("expand", "photo.png", "-m", tiny_bundle).code == 0
    assert cli("tonemap", "photo.exr", "-o", "again.png").code == 0


def test_a_photo_is_tone_mapped_with_a_remark(cli: Cli) -> None:
    save("photo.png")
    ran = cli("tonemap", "photo.png", "-o", "again.png")
    assert ran.code == 0
    assert "photo.png: is LDR already" in ran.err
    assert Path("again.png").is_file()


def test_list(cli: Cli) -> None:
    ran = cli("tonemap", "--list")
    assert (ran.code, ran.err) == (0, "")
    for name in registry.names("hdrcli.tonemapping"):
        assert f"\n{name} " in ran.out
    assert "mu=5000.0" in ran.out


def test_json(cli: Cli, scene: Path) -> None:
    ran = cli("tonemap", scene, "--json")
    record = json.loads(ran.out)
    assert (record["input"], record["output"], record["operator"], ran.err) == ("scene.exr", "scene.png", "reinhard", "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.exr"], 1, ("missing.exr: no such file",)),
        (["photo.png"], 2, ("photo.png: is the input itself",)),
        (["scene.exr", "-o", "x.exr"], 2, ("x.exr: ", "LDR")),
        (["scene.exr", "-o", "-"], 2, ("-: ", "LDR")),
        (["scene.exr", "-t", "reinhart"], 2, ("reinhart", "did you mean reinhard?")),
        (["scene.exr", "-p", "mu=1"], 2, ("mu", "key, white")),
        (["scene.exr", "-p", "key"], 2, ("-p: ", "key=value")),
        (["scene.exr", "-p", "key=dark"], 2, ("key: 'dark' is no float",)),
        (["scene.exr", "-p", "key=nan"], 2, ("key: 'nan' is no finite number",)),
        (["scene.exr", "-p", "key=1", "-p", "key=2"], 2, ("-p: key is given twice",)),
        (["scene.exr", "--bits", "12"], 2, ("--bits: ",)),
        (["scene.exr", "--quality", "0"], 2, ("--quality: ",)),
        (["scene.exr", "--ev", "nan"], 2, ("--ev: ",)),
        (["scene.exr", "-o", "old.png"], 1, ("old.png: exists already", "--overwrite")),
    ],
)
def test_faults(cli: Cli, scene: Path, arguments: list[str], code: int, words: tuple[str, ...]) -> None:
    save("photo.png")
    save("old.png")
    before = files()
    ran = cli("tonemap", *arguments)
    assert (ran.code, ran.out, len(ran.lines)) == (code, "", 1)
    assert ran.err.startswith("hdrcli: ")
    assert ran.err.endswith(")\n")
    for word in words:
        assert word in ran.err
    assert files() == before
