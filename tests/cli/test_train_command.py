from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, save

import hdrcli
from hdrcli.color import Transfer
from hdrcli.errors import MissingExtra, MissingRequirement
from hdrcli.image import Image

SMALL = ("-p", "network.width=4", "-p", "working_size=32", "-p", "view_size=32", "-p", "batch_size=2", "--workers", "0")


@pytest.fixture
def scenes() -> Path:
    folder = Path("scenes")
    folder.mkdir()
    light = np.exp(np.random.default_rng(0).normal(0, 1.5, (48, 48, 3))).astype(np.float32)
    hdrcli.write(Image(light, Transfer.LINEAR), folder / "a.exr")
    return folder


def test_train_export_expand(cli: Cli, scenes: Path) -> None:
    ran = cli("train", "--hdr", scenes, "--out", "run", "--max-steps", "2", *SMALL)
    assert (ran.code, ran.out) == (0, "")
    assert ran.lines == [
        "scenes: scenes: 1 HDR files, no manifest.csv, all used",
        "recipe: paired, 1 scenes, until 2 steps, device auto, bf16-mixed, seed 1",
        ran.lines[2],
        "run -> run/bundle; use it: hdrcli expand photo.jpg --model run/bundle",
    ]
    assert ran.lines[2].startswith("trained 2 steps in 0.0 min on ")
    assert {"g_y.safetensors", "bundle"} <= {p.name for p in Path("run").iterdir()}
    save("photo.png")
    assert cli("expand", "photo.png", "--model", "run/bundle").code == 0
    assert "PyTorch" in cli("expand", "photo.png", "--model", "run", "-o", "torch.exr").err
    bundle, torch = (hdrcli.read(name).pixels.astype(np.float32) for name in ("photo.exr", "torch.exr"))
    assert np.allclose(bundle, torch, rtol=5e-3)

    again = cli("train", "--hdr", scenes, "--out", "run", "--max-steps", "3", *SMALL)
    assert again.code == 1
    assert again.lines[-1].startswith("hdrcli: run: holds a run already")
    other = cli("train", "--hdr", scenes, "--out", "run", "--max-steps", "3", *SMALL, "--resume", "auto", "-p", "lamps=0")
    assert other.code == 1
    assert other.lines[-1].startswith("hdrcli: run: holds a run with other options")

    precious = Path("home")
    precious.mkdir()
    (precious / "letter.txt").write_text("do not lose me", encoding="utf-8")
    refused = cli("models", "export", "run", "-o", "home", "--overwrite")
    assert (refused.code, len(refused.lines)) == (1, 1)
    assert (precious / "letter.txt").is_file()


def test_a_run_that_can_not_be_exported_here_is_a_success(cli: Cli, scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hdrcli.training import export

    def no_runtime(*arguments: object, **options: object) -> None:
        raise MissingRequirement("onnxruntime can't be loaded", remedy="install it again")

    def no_package(run: Path) -> None:
        raise MissingExtra("safetensors", "train", purpose="writing safetensors")

    monkeypatch.setattr(export, "write_bundle", no_runtime)
    monkeypatch.setattr(export, "write_weights", no_package)
    ran = cli("train", "--hdr", scenes, "--out", "run", "--max-steps", "1", *SMALL)
    assert (ran.code, ran.out) == (0, "")
    assert "no weights written: writing safetensors needs" in ran.lines[-2]
    assert "no bundle written: onnxruntime can't be loaded" in ran.lines[-1]


def test_manifest_gives_the_split(cli: Cli, scenes: Path) -> None:
    (scenes / "manifest.csv").write_text("file,split\na.exr,val\n", encoding="utf-8")
    ran = cli("train", "--hdr", scenes, "--out", "run", "--max-steps", "1")
    assert (ran.code, len(ran.lines)) == (1, 1)
    assert "manifest.csv: has no files of split 'train' (there are: val)" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, ("training needs an end", "--minutes")),
        (["--minutes", "nan"], 2, ("--minutes: ",)),
        (["--minutes", "0"], 2, ("--minutes: ",)),
        (["--max-steps", "0"], 2, ("--max-steps: ",)),
        (["--max-steps", "1", "--seed", "-1"], 2, ("--seed: ",)),
        (["--max-steps", "1", "--device", "tpu"], 2, ("--device: ",)),
        (["--max-steps", "1", "--recipe", "pared"], 2, ("'pared'", "did you mean paired?")),
        (["--max-steps", "1", "-p", "network"], 2, ("key=value",)),
        (["--max-steps", "1", "-p", "network=4"], 2, ("network: ", "network.width")),
        (["--max-steps", "1", "-p", "network.widht=4"], 2, ("network.widht: ", "width")),
        (["--max-steps", "1", "-p", "batch_size.x=4"], 2, ("batch_size.x: ", "no group")),
        (["--max-steps", "1", "-p", "batch_size=four"], 2, ("batch_size: ", "'four' is no int")),
        (["--max-steps", "1", "-p", "camera.blends=1"], 2, ("camera.blends: ", "2 values")),
        (["--max-steps", "1", "-p", "network.gates=maybe"], 2, ("network.gates: ", "true")),
        (["--max-steps", "1", "-p", "network.gates=true"], 2, ("network.gates: ", "guides")),
        (["--max-steps", "1", "-p", "batch_size=3"], 2, ("batch_size: ", "photos_per_view")),
        (["--max-steps", "1", "--hdr", "nowhere"], 1, ("nowhere: ", "--hdr")),
    ],
)
def test_faults(cli: Cli, scenes: Path, arguments: list[str], code: int, words: tuple[str, ...]) -> None:
    ran = cli("train", "--hdr", scenes, "--out", "run", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert len(ran.lines) == 1
    for word in words:
        assert word in ran.err
    assert ran.err.endswith(")\n")
    assert not Path("run").exists()
