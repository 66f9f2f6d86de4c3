"""The command: what it is asked for, what it says, and how it ends. The work itself is tested in tests/batch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, codes, files, save, spawn

import hdrcli
from hdrcli.color import Transfer
from hdrcli.image import Image

MANIFEST = "hdrcli-batch.jsonl"


@pytest.fixture
def tree() -> None:
    """Three photos in a tree, and what is none."""
    for number, name in enumerate(("in/a.png", "in/b/c.png", "in/b/d.jpg")):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        save(name, np.roll(codes(), number, axis=0))
    Path("in/notes.txt").write_text("not a photo", encoding="utf-8")


def batch(cli: Cli, *arguments: object):
    return cli("batch", *arguments, "--out-dir", "out", "-m", "linear", "-j", 1)


def events(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.usefixtures("tree")
def test_a_tree(cli: Cli) -> None:
    ran = batch(cli, "in", "-r")
    assert (ran.code, ran.out, len(ran.lines)) == (0, "", 1)
    assert ran.err.startswith("3 files done in ")
    assert {f for f in files() if f.startswith("out")} == {f"out/{n}" for n in ("a.exr", "b/c.exr", "b/d.exr", MANIFEST)}
    # as hdrcli expand does it
    assert cli("expand", "in/a.png", "-m", "linear", "-o", "single.exr").code == 0
    assert hdrcli.read("single.exr").pixels.tobytes() == hdrcli.read("out/a.exr").pixels.tobytes()
    again = batch(cli, "in", "-r")
    assert (again.code, again.err.partition(" in ")[0]) == (0, "0 files done, 3 done before")


@pytest.mark.usefixtures("tree")
def test_json(cli: Cli) -> None:
    Path("in/bad.png").write_bytes(b"oh")
    ran = batch(cli, "in", "--json", "-q")
    assert ran.code == 3
    assert len(ran.lines) == 1
    planned, *done, summary = events(ran.out)
    assert planned == {"event": "planned", "tasks": 2, "current": 0, "others": 0}
    assert {(event["event"], event["output"]) for event in done} == {("done", "a.exr"), ("failed", "bad.exr")}
    failed = next(event for event in done if event["event"] == "failed")
    assert "in/bad.png: is not an image" in str(failed["error"])
    del summary["seconds"]
    counts = {"done": 1, "current": 0, "elsewhere": 0, "others": 0, "left": 0, "stopped": None, "failed": 1}
    assert summary == {"event": "summary", **counts}


@pytest.mark.usefixtures("tree")
def test_some_fail(cli: Cli) -> None:
    Path("in/bad one.png").write_bytes(b"oh")
    ran = batch(cli, "in", "--failed-list", "failed.txt")
    assert ran.code == 3
    assert ran.lines[0].startswith("hdrcli: in/bad one.png: is not an image of a known type")
    assert ran.lines[1].startswith("1 file done, 1 failed in ")
    assert ran.lines[2].endswith("--retry-failed to try only those that failed; they are listed in failed.txt")
    assert Path("failed.txt").read_text(encoding="utf-8") == "in/bad one.png\n"
    assert "failed.txt: exists already" in batch(cli, "in", "--failed-list", "failed.txt").err
    save("good.png").rename("in/bad one.png")
    ran = batch(cli, "--files-from", "failed.txt", "--retry-failed", "--base", "in")
    assert (ran.code, ran.err.partition(" in ")[0]) == (0, "1 file done")
    ran = batch(cli, "in", "--retry-failed")
    assert (ran.code, ran.err.partition(" in ")[0]) == (0, "0 files done, 2 done before")


def test_all_fail(cli: Cli) -> None:
    ran = batch(cli, "gone.png")
    assert ran.code == 1
    assert "gone.png: no such file (check the name)" in ran.err


@pytest.mark.usefixtures("tree")
def test_dry_run(cli: Cli) -> None:
    before = files()
    ran = batch(cli, "in", "-r", "--dry-run")
    assert (ran.code, len(ran.out.splitlines())) == (0, 3)
    assert ran.out.startswith("in/a.png -> out/a.exr  (new)\n")
    assert ran.err == "3 files to do, 0 done before (dry run, nothing written)\n"
    assert files() == before
    assert not Path("out").exists()
    batch(cli, "in")
    ran = batch(cli, "in", "-r", "--dry-run", "--json", "-q")
    assert [event["output"] for event in events(ran.out)] == ["b/c.exr", "b/d.exr"]


def test_light_to_pictures(cli: Cli) -> None:
    light = np.random.default_rng(0).random((8, 12, 3), np.float32) * 4
    hdrcli.write(Image(light, Transfer.LINEAR), "a.exr")
    options = ("-t", "agx", "--ev", "-1", "--saturation", "0.5", "--no-dither")
    ran = cli("batch", "a.exr", "--out-dir", "out", "--to", "png", "-j", 1, *options, "--resize", "50%")
    assert ran.code == 0, ran.err
    assert cli("tonemap", "a.exr", "-o", "one.png", *options, "--resize", "50%").code == 0
    assert np.array_equal(hdrcli.read("one.png").pixels, hdrcli.read("out/a.png").pixels)
    assert hdrcli.read("out/a.png").width == 6


def test_all_options_of_expand(cli: Cli, tiny_bundle: Path) -> None:
    save("a.png")
    options = ("-m", tiny_bundle, "--device", "cpu", "--reconstruct", "all", "--strength", 0.5, "--peak-stops", 3, "--ev", -1)
    more = ("--white-nits", 100, "--primaries", "acescg", "--depth", "float", "--compression", "piz", "--projection", "flat")
    assert cli("batch", "a.png", "--out-dir", "out", "-j", 1, *options, *more).code == 0
    assert cli("expand", "a.png", "-o", "one.exr", *options, *more).code == 0
    assert Path("one.exr").read_bytes() == Path("out/a.exr").read_bytes()


def test_previews_and_confidence(cli: Cli, tiny_bundle: Path) -> None:
    save("a.png")
    call = ("batch", "a.png", "--out-dir", "out", "-j", 1, "-m", tiny_bundle, "--preview", "--confidence", "--strip", "all")
    assert cli(*call).code == 0
    assert {f for f in files() if f.startswith("out")} == {"out/a.exr", "out/a.preview.png", f"out/{MANIFEST}"}
    import OpenEXR

    with OpenEXR.File("out/a.exr") as file:
        assert "confidence" in file.channels()
    Path("out/a.preview.png").unlink()
    assert cli(*call, "-v").lines[0].strip() == "1 file to do"


def test_templates(cli: Cli) -> None:
    save("a.png")
    save("a.jpg")
    ran = batch(cli, "a.png", "a.jpg")
    assert (ran.code, "a.exr: would come from both a.png and a.jpg" in ran.err) == (2, True)
    assert not Path("out").exists()
    assert batch(cli, "a.png", "a.jpg", "--template", "{type}/{stem}_{model}.{ext}").code == 0
    assert {"out/png/a_linear.exr", "out/jpg/a_linear.exr"} <= files()


ODD = ["a b.png", "größe 絵.png", "\udcff.png", "two\nlines.png", "-m.png", "\x1b[31m.png", "'\".png", "[x].png"]


def test_odd_names(cli: Cli) -> None:
    Path("in").mkdir()
    for name in ODD:
        save("x.png").rename(Path("in") / name)
    ran = batch(cli, "in", "-v")
    assert ran.code == 0, ran.err
    assert all(line.isprintable() for line in ran.lines)
    assert len(ran.lines) == len(ODD) + 2
    assert {f"out/{Path(name).stem}.exr" for name in ODD} <= files()
    ran = batch(cli, "in", "--json", "-q")
    assert events(ran.out)[0]["current"] == len(ODD)
    records = events(Path("out", MANIFEST).read_text(encoding="ascii"))
    assert {str(record["input"]) for record in records} == {str(Path("in").absolute() / name) for name in ODD}


def test_lists_from_standard_input() -> None:
    Path("in").mkdir()
    for name in ODD:
        save("x.png").rename(Path("in") / name)
    names = b"".join(os.fsencode(f"in/{name}") + b"\0" for name in ODD)
    arguments = ("batch", "--files-from", "-", "--out-dir", "out", "-m", "linear", "-j", "1")
    done = spawn(*arguments, "-0", stdin=names)
    assert done.returncode == 0, done.stderr
    assert {f"out/in/{Path(name).stem}.exr" for name in ODD} <= files()
    done = spawn(*arguments, stdin=names)
    assert (done.returncode, b"add -0" in done.stderr) == (2, True)


def test_names_with_line_breaks_in_lists_of_failures(cli: Cli) -> None:
    Path("in").mkdir()
    Path("in/two\nlines.png").write_bytes(b"x")
    ran = batch(cli, "in", "--failed-list", "a.txt")
    assert (Path("a.txt").read_bytes(), "holds a line break" in ran.err) == (b"", True)
    Path("list").write_bytes(b"in/two\nlines.png\0")
    batch(cli, "--files-from", "list", "-0", "--failed-list", "b.txt")
    assert Path("b.txt").read_bytes() == b"in/two\nlines.png\0"


@pytest.mark.usefixtures("tree")
def test_shards(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = batch(cli, "in", "-r", "--shard", "1/2", "--json", "-q")
    first = events(ran.out)[0]
    for name, value in (("ID", "7"), ("COUNT", "2"), ("MIN", "6")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    second = events(batch(cli, "in", "-r", "--shard", "auto", "--json", "-q").out)[0]
    assert (first["tasks"], first["others"]) == (second["others"], second["tasks"])
    assert len([f for f in files() if f.endswith(".exr")]) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("in",), "--out-dir"),
        (("--out-dir", "out"), "nothing to convert"),
        (("in", "--files-from", "x", "--out-dir", "out"), "exclude each other"),
        (("in", "-0", "--out-dir", "out"), "-0: is for lists"),
        (("in", "--out-dir", "out", "--to", "xyz"), "unknown output type '.xyz'"),
        (("in", "--out-dir", "out", "--to", "gif"), "unknown output type '.gif'"),
        (("in", "--out-dir", "out", "-t", "agx"), "--tmo: nothing tone-maps with --to exr"),
        (("in", "--out-dir", "out", "--to", "png", "--strength", "0"), "--strength: nothing expands with --to png"),
        (("in", "--out-dir", "out", "--to", "png", "-t", "agx", "-t", "hable"), "-t: takes one operator"),
        (("in", "--out-dir", "out", "--to", "png", "-t", "agxx"), "did you mean agx?"),
        (("in", "--out-dir", "out", "-m", "nowhere"), "no model 'nowhere'"),
        (("in", "--out-dir", "out", "--memory", "lots"), "--memory: 'lots' is no amount"),
        (("in", "--out-dir", "out", "-j", "0"), "-j: 0 is below 1"),
        (("in", "--out-dir", "out", "--shard", "3/2"), "--shard"),
        (("in", "--out-dir", "out", "--template", "{x}.{ext}"), "--template: no field {x}"),
        (("in", "--out-dir", "out", "--base", "nowhere"), "--base nowhere: no such folder"),
        (("in", "--out-dir", "out", "--watch", "--dry-run"), "--watch"),
        (("in", "--out-dir", "out", "--watch", "--interval", "0"), "--interval"),
        (("in", "--out-dir", "out", "--engine", "steam"), "--engine"),
        (("in", "--out-dir", "in/a.png"), "in/a.png: is no folder"),
        (("in", "--out-dir", "x/out"), "x/out: the folder above it does not exist"),
        (("empty", "--out-dir", "out"), "empty: no picture to convert"),
        (("*.gif", "--out-dir", "out"), "*.gif: no file matches"),
        (("--files-from", "nowhere", "--out-dir", "out"), "nowhere: no such file"),
        (("--files-from", "nothing", "--out-dir", "out"), "the list is empty"),
        (("in", "--out-dir", "out", "--manifest", "in/notes.txt"), "in/notes.txt: is no manifest"),
        (("in", "--out-dir", "out", "--to", "png", "--resize", "big"), "--resize: 'big' is no size"),
    ],
)
@pytest.mark.usefixtures("tree")
def test_what_makes_no_sense(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    Path("empty").mkdir()
    Path("nothing").touch()
    before = files()
    ran = cli("batch", *arguments)
    assert (ran.code in (1, 2, 4), len(ran.lines), ran.out) == (True, 1, ""), ran.err
    assert words in ran.err
    assert files() == before


@pytest.mark.usefixtures("tree")
def test_outputs_among_sources(cli: Cli) -> None:
    assert cli("batch", "in", "-r", "--out-dir", "in/hdr", "--to", "tif", "-m", "linear", "-j", 1).code == 0
    ran = cli("batch", "in", "-r", "--out-dir", "in/hdr", "--to", "tif", "-m", "linear", "-j", 1)
    assert ran.err.partition(" in ")[0] == "0 files done, 3 done before"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.usefixtures("tree")
def test_read_only_target(cli: Cli) -> None:
    Path("out").mkdir(mode=0o555)
    ran = batch(cli, "in")
    assert (ran.code, f"out/{MANIFEST}: can't be written: Permission denied" in ran.err) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(number: signal.Signals) -> None:
    Path("in").mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (600, 900, 3), np.uint8)
    for name in range(30):
        save(f"in/{name:02d}.png", picture)
    command = [sys.executable, "-m", "hdrcli", "batch", "in", "--out-dir", "out", "-m", "linear", "-j", "2", "--json", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while '"done"' not in process.stdout.readline():
            pass
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "hdrcli: interrupted\n")
    made = [f for f in files() if f.startswith("out/") and f.endswith(".exr")]
    assert 1 <= len(made) < 30
    assert all(hdrcli.read(f).width == 900 for f in made)


def test_watch_ends_with_ctrl_c() -> None:
    Path("in").mkdir()
    command = [sys.executable, "-m", "hdrcli", "batch", "in", "--out-dir", "out", "-m", "linear", "-j", "1", "--watch"]
    with subprocess.Popen([*command, "--interval", "0.1"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "watching; Ctrl-C ends it\n"
        save("in/a.png")
        save("in/a.jpg")
        ends = time.monotonic() + 60
        while not Path("out/a.exr").exists() and time.monotonic() < ends:
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "left out: out" in err or "left out: a.exr: would come from both" in err
    assert "1 file done in " in err


def test_help_imports_nothing_heavy() -> None:
    script = """
import sys
from hdrcli.cli.app import main
assert main(["batch", "--help"]) == 0
heavy = {"numpy", "cv2", "onnxruntime", "torch", "PIL", "ray", "rich"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
