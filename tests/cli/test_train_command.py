from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

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
        "there is one HDR image only: what is learned will hold for it alone",
        "recipe: paired, 1 scenes, until 2 steps, device auto, bf16-mixed, seed 1",
        *ran.lines[3:5],
        "making its bundle and comparing that with torch; this takes a while",
        "run -> run/bundle; use it: hdrcli expand photo.jpg --model run/bundle",
    ]
    assert ran.lines[3].startswith("  0 %  epoch 1.0  step 1  ")
    assert ran.lines[4].startswith("trained 2 steps in 0.0 min on ")
    record = json.loads(Path("run/run.json").read_text(encoding="utf-8"))
    assert (record["recipe"], record["sources"], record["data"]) == ("paired", {"hdr": ["scenes"]}, {"hdr": ["a"]})
    assert (record["split"], record["cache"]) == ("train", {"memory_gb": 4.0, "disk_gb": 10.0})
    assert str(Path.cwd()) not in Path("run/run.json").read_text(encoding="utf-8")
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
    assert other.lines[-1].startswith("hdrcli: run: holds a run with other options: lamps 0.15, not 0.0")

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
    assert "no weights written: writing safetensors needs" in ran.lines[-3]
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
        (["--epochs", "0"], 2, ("--epochs: ",)),
        (["--max-steps", "1", "--accumulate", "0"], 2, ("--accumulate: ",)),
        (["--max-steps", "1", "--shard-mib", "0"], 2, ("--shard-mib: ",)),
        (["--max-steps", "1", "--cache-memory", "-1"], 2, ("--cache-memory: ",)),
        (["--max-steps", "1", "--recipe", "there.toml"], 2, ("there.toml: ", "can't be read")),
        (["--max-steps", "1", "--guides", "paper"], 2, ("--guides paper: ", "recipe paired has no maps")),
        (["--max-steps", "1", "--checkpoint-activations"], 2, ("--checkpoint-activations: ", "recipe paired")),
        (["--max-steps", "1", "--precision", "16-mixed"], 2, ("--precision: ", "CUDA")),
        (["--max-steps", "1", "--recipe", "paired", "--ldr", "scenes"], 2, ("--ldr: ", "recipe paired is not trained on LDR")),
        (["--max-steps", "1", "--width", "5"], 2, ("network.width: ", "multiple of 4")),
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
        (["--max-steps", "1", "--val", "nowhere"], 1, ("nowhere: ",)),
    ],
)
def test_faults(cli: Cli, scenes: Path, arguments: list[str], code: int, words: tuple[str, ...]) -> None:
    ran = cli("train", "--hdr", scenes, "--out", "run", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert [line for line in ran.lines if line.startswith("hdrcli: ")] == [ran.lines[-1]]
    assert code == 1 or len(ran.lines) == 1
    for word in words:
        assert word in ran.lines[-1]
    assert ran.err.endswith(")\n")
    assert not Path("run").exists()


def test_swapped_folders_are_named(cli: Cli, scenes: Path) -> None:
    Path("photos").mkdir()
    save("photos/a.png")
    ran = cli("train", "--hdr", "photos", "--out", "run", "--max-steps", "1")
    assert ran.code == 1
    assert ran.lines[-1] == "hdrcli: photos: holds no HDR files but LDR ones: 1 .png (LDR folders go to --ldr)"
    assert not Path("run").exists()


def test_the_plan_says_what_it_would_cost_and_leaves_nothing(cli: Cli, scenes: Path) -> None:
    ran = cli("train", "--hdr", scenes, "--out", "run", "--epochs", "10", "--dry-run", "--accumulate", "2", *SMALL)
    assert ran.code == 0
    lines = dict(line.split(": ", 1) for line in ran.out.splitlines())
    assert lines["HDR"] == "1 images (1 in memory, 0 cached on disk, 0 decoded each time)"
    assert lines["networks"].startswith("g_y ")
    assert lines["batch"].startswith("2 x 2 x 1 images")
    assert lines["epoch"] == "0.5 steps; schedule: cosine"
    assert "GB in this process; a checkpoint takes" in lines["memory"]
    assert "5 steps" in lines["time"]
    assert not Path("run").exists()


def test_scores_come_along(cli: Cli, scenes: Path, unexported: None) -> None:
    ran = cli("train", "--hdr", scenes, "--out", "run", "--max-steps", "1", "--val", scenes, "--width", "8", *SMALL[2:])
    assert ran.code == 0
    assert any(line.startswith("validation: 2 virtual photos of 1 scenes") for line in ran.lines)
    assert any(line.startswith("val at step 1: clipped log2-RMSE") for line in ran.lines)
    record = json.loads(Path("run/run.json").read_text(encoding="utf-8"))
    assert record["objective"]["options"]["network"]["width"] == 8
    assert record["validation"]["note"] == "2 virtual photos of 1 scenes of scenes"


def test_pieces_are_resumed(cli: Cli, scenes: Path, unexported: None) -> None:
    first = cli("train", "--hdr", scenes, "--out", "run", "--max-steps", "1", "--shard-mib", "0.5", *SMALL)
    assert first.code == 0
    assert Path("run/checkpoint.json").is_file()
    assert not Path("run/checkpoint.pt").exists()
    again = cli("train", "--hdr", scenes, "--out", "run", "--max-steps", "2", "--resume", "auto", *SMALL)
    assert again.code == 0
    assert "resumes at step 1 of run" in again.lines
    assert any(line.startswith("trained 2 steps") for line in again.lines)
    assert Path("run/checkpoint.pt").is_file()


def test_a_recipe_of_ones_own_ends_where_it_says(cli: Cli, scenes: Path, unexported: None) -> None:
    text = 'objective = "paired"\n[options]\nworking_size = 32\nview_size = 32\nbatch_size = 2\nnetwork.width = 4\n'
    Path("mine.toml").write_text(text + "[loop]\nepochs = 3\n", encoding="utf-8")
    ran = cli("train", "--hdr", scenes, "--out", "run", "--recipe", "mine.toml", "--workers", "0")
    assert ran.code == 0
    assert "recipe: mine, 1 scenes, until 3 steps, device auto, bf16-mixed, seed 1" in ran.lines


@pytest.fixture
def unexported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end without a bundle: the test is not about that."""
    from hdrcli.training import export

    def not_here(*arguments: object, **options: object) -> None:
        raise MissingRequirement("onnxruntime can't be loaded", remedy="install it again")

    monkeypatch.setattr(export, "write_bundle", not_here)


def begun(run: Path, process: subprocess.Popen[str]) -> int:
    """Waits for the first step; the last step so far."""
    for _ in range(1200):
        if process.poll() is not None:
            break
        lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines() if (run / "log.jsonl").is_file() else []
        steps = [json.loads(line)["step"] for line in lines if '"losses"' in line]
        if steps:
            return int(steps[-1])
        time.sleep(0.1)
    raise AssertionError(process.communicate())


def alone(group: int) -> bool:
    """Is no process of the group left? Orphans look for their parent every five seconds."""
    for _ in range(300):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


TRAIN = ("train", "--hdr", "scenes", "--out", "run", "--device", "cpu", *SMALL[:-1])


def started(*arguments: str) -> subprocess.Popen[str]:
    """Training as a shell would start it: in a process group of its own."""
    command = [sys.executable, "-m", "hdrcli", *TRAIN, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_a_signal_to_the_whole_group_saves_the_run(cli: Cli, scenes: Path, number: signal.Signals) -> None:
    """As GNU timeout, Slurm and systemd send it: to workers as well."""
    with started("1", "--max-steps", "1000000") as process:
        begun(Path("run"), process)
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=60)
        assert alone(process.pid)
    assert process.returncode == 130
    saved = json.loads(Path("run/log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert saved["event"] == "interrupted"
    assert err.splitlines()[-2:] == [
        f"interrupted at step {saved['step']}; --resume auto goes on from there",
        "hdrcli: interrupted",
    ]
    end = str(saved["step"] + 1)
    again = cli(*TRAIN, "0", "--max-steps", end, "--resume", "auto")
    assert again.code == 0
    assert f"resumes at step {saved['step']} of run" in again.lines


@pytest.mark.slow  # workers look for their parent every five seconds
def test_workers_do_not_outlive_a_process_that_was_killed(scenes: Path) -> None:
    with started("2", "--max-steps", "1000000") as process:
        begun(Path("run"), process)
        process.kill()
        process.communicate()
    assert alone(process.pid)


@pytest.mark.slow
def test_two_processes_are_interrupted_once(scenes: Path) -> None:
    with started("1", "--max-steps", "1000000", "--devices", "2") as process:
        begun(Path("run"), process)
        os.killpg(process.pid, signal.SIGTERM)
        _, err = process.communicate(timeout=120)
        assert alone(process.pid)
    assert process.returncode == 130
    assert err.count("hdrcli: interrupted") == 1
    assert err.count("--resume auto goes on from there") == 1
    assert Path("run/checkpoint.pt").is_file()


def test_only_the_first_process_says_that_it_was_interrupted(cli: Cli, scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hdrcli.training import loop, placement

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", interrupted)
    for rank, lines in ((0, ["hdrcli: interrupted"]), (1, [])):
        fabric = SimpleNamespace(global_rank=rank, world_size=2)
        monkeypatch.setattr(placement, "make_fabric", lambda *arguments, made=fabric: made)
        ran = cli(*TRAIN, "0", "--max-steps", "2")
        assert (ran.code, ran.lines[-1:]) == (130, lines)


def test_that_nothing_is_there_to_resume_is_said(cli: Cli, scenes: Path, unexported: None) -> None:
    ran = cli(*TRAIN, "0", "--max-steps", "1", "--resume", "auto")
    assert ran.code == 0
    assert "nothing to resume in run: starts at step 0" in ran.lines
