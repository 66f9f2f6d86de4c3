from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, files

import hdrcli
from hdrcli import parallel
from hdrcli.color import Transfer, encode
from hdrcli.image import Image

ONE = ("--threads", "1")  # no processes to wait for
QUICK = (*ONE, "--metrics", "log2_rmse")


@pytest.fixture(autouse=True)
def _all_threads_again() -> Iterator[None]:
    yield
    parallel.limit_threads(None)


def light(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (2.0 ** (np.linspace(-9, 5, width)[None, :, None] + rng.normal(0, 0.3, (height, width, 3)))).astype(np.float32)


def save_light(path: str, pixels: np.ndarray, white: float | None = None) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    image = Image(pixels.astype(np.float32), Transfer.LINEAR, white_luminance=white)
    hdrcli.write(image, path, hdrcli.WriteOptions(depth="float"), overwrite=True)
    return Path(path)


def save_photo(path: str, scene: np.ndarray) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    codes = np.rint(encode(np.clip(scene, 0, 1), Transfer.SRGB) * 255).astype(np.uint8)
    hdrcli.write(Image(codes, Transfer.SRGB), path, overwrite=True)
    return Path(path)


@pytest.fixture
def folders() -> None:
    """``truth``, ``good``, ``poor`` and ``photos``, of three scenes."""
    for seed, name in enumerate(("one", "three", "two")):
        scene, rng = light(seed), np.random.default_rng(seed + 10)
        save_light(f"truth/{name}.exr", scene)
        save_light(f"good/{name}.exr", scene * 2 ** rng.normal(0, 0.1, scene.shape))
        save_light(f"poor/{name}.exr", np.minimum(scene, 1.2) * 2 ** rng.normal(0, 0.5, scene.shape))
        save_photo(f"photos/{name}.png", scene)


def columns(out: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in out.splitlines()]


def test_two_files(cli: Cli, folders: None) -> None:
    ran = cli("evaluate", "good/one.exr", "truth/one.exr", *QUICK)
    assert (ran.code, ran.err) == (0, "")
    assert "hdrcli 0.1.0 raw: not aligned" in ran.out
    assert "hdrcli 0.1.0 sihdr: CRF-corrected" in ran.out
    assert "1.0 in a file: 100 cd/m2" in ran.out
    assert sum(row[:2] == ["pu21_psnr_rgb (dB, higher)", "one"] for row in columns(ran.out)) == 2


def test_folders_side_by_side_with_photos(cli: Cli, folders: None) -> None:
    ran = cli("evaluate", "truth", "--pred", "ours=good", "--pred", "theirs=poor", "--ldr", "photos", *QUICK)
    assert (ran.code, ran.err) == (0, "")
    rows = columns(ran.out)
    scores = {row[1]: row for row in rows if row and row[0] == "pu21_psnr_rgb (dB, higher)"}
    assert set(scores) == {"ours", "theirs", "linear"}
    assert scores["ours"][2].endswith("*")
    assert scores["theirs"][5] == "3"
    assert " .. " in scores["theirs"][3]
    assert {row[0] for row in rows if len(row) > 2 and row[2] in scores} == {"clipped", "mid", "shadow"}
    assert any(row[1:2] == ["ours - theirs"] for row in rows)
    assert "3 pairs are too few: no p can be below 0.25" in ran.out
    assert "regions by the codes of the LDR photo" in ran.out
    assert "worst of theirs by pu21_psnr_rgb: " in ran.out
    assert "RANKING BY" in ran.out


def test_all_protocols_show_how_the_ranking_moves(cli: Cli, folders: None) -> None:
    protocols = [part for name in ("raw", "mu", "ntire21", "fhdr") for part in ("--protocol", name)]
    ran = cli("evaluate", "truth", "--pred", "a=good", "--pred", "b=poor", *protocols, *QUICK)
    after = [row for row in columns(ran.out[ran.out.index("RANKING BY") :]) if len(row) > 2]
    assert [row[0] for row in after[1:]] == ["raw", "mu", "ntire21", "fhdr"]
    assert all(row[2:] == ["1. a", "2. b"] for row in after[1:])


def test_records(cli: Cli, folders: None) -> None:
    ran = cli("evaluate", "good", "truth", "--protocol", "raw", "--json", *QUICK)
    *pairs, summary = [json.loads(line) for line in ran.out.splitlines()]
    assert [(p["method"], p["image"], p["error"]) for p in pairs] == [("good", n, None) for n in ("one", "three", "two")]
    assert pairs[0]["protocols"]["raw"]["scores"]["pu21_psnr_rgb"] > 20
    assert summary["protocols"][0]["line"].startswith("hdrcli ")
    assert summary["summary"][0]["n"] == 3


def test_outputs(cli: Cli, folders: None) -> None:
    Path("maps").mkdir()
    outputs = ("--out-json", "a.json", "--csv", "a.csv", "--html", "a.html", "--maps", "maps")
    ran = cli("evaluate", "good", "truth", "--protocol", "raw", *outputs, *QUICK)
    assert (ran.code, ran.lines) == (0, ["-> a.json", "-> a.csv", "-> a.html"])
    assert json.loads(Path("a.json").read_text())["format"] == "hdrcli-evaluation"
    lines = csv.DictReader(Path("a.csv").read_text(encoding="utf-8").splitlines())
    assert [row["image"] for row in lines] == ["one", "three", "two"]
    assert "<html" in Path("a.html").read_text(encoding="utf-8")
    assert len(list(Path("maps").glob("*.good.raw.stops.png"))) == 3
    before = files()
    ran = cli("evaluate", "good", "truth", "--protocol", "raw", *outputs, *QUICK)
    assert (ran.code, ran.out) == (1, "")
    assert "exists already" in ran.err
    assert cli("evaluate", "good", "truth", "--protocol", "raw", *outputs, *QUICK, "--overwrite").code == 0
    assert files() == before


def test_a_record_is_done_again(cli: Cli, folders: None) -> None:
    arguments = ("truth", "--pred", "a=good", "--pred", "b=poor", "--ldr", "photos", "--seed", "3", "--ppd", "50")
    assert cli("evaluate", *arguments, "--out-json", "a.json", *QUICK).code == 0
    ran = cli("evaluate", "--from-json", "a.json", "--out-json", "b.json", *ONE)
    assert ran.code == 0
    assert "numbers identical, largest difference 0: they agree" in ran.err
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()
    save_light("good/one.exr", light(0) * 1.01)
    ran = cli("evaluate", "--from-json", "a.json", *ONE, "--quiet")
    assert ran.code == 1
    assert "good/one.exr: has changed since" in ran.err
    assert "raw a one pu21_psnr_rgb: was " in ran.err


def test_record_of_another_run_needs_no_more(cli: Cli, folders: None) -> None:
    assert cli("evaluate", "good", "truth", "--out-json", "a.json", *QUICK).code == 0
    for extra in (["truth"], ["--ppd", "50"], ["--pred", "a=good"], ["--white-nits", "100"]):
        ran = cli("evaluate", "--from-json", "a.json", *extra)
        assert ran.code == 2
        assert "the record says it already" in ran.err
    ran = cli("evaluate", "--from-json", "good/one.exr")
    assert (ran.code, len(ran.lines)) == (1, 1)
    assert "one.exr: is no text" in ran.err


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("pu21_psnr_rgb=5", 0),
        ("pu21_psnr_rgb=90", 1),
        ("raw.pu21_psnr_rgb=5", 0),
        ("sihdr.log2_rmse=0.001", 1),
        ("log2_rmse=50", 0),
        ("no_such_score=1", 1),
    ],
)
def test_fail_under(cli: Cli, folders: None, limit: str, code: int) -> None:
    ran = cli("evaluate", "good", "truth", *QUICK, "--fail-under", limit)
    assert ran.code == code
    assert bool(ran.err) == bool(code)
    if code and "no_such" not in limit:
        word = "above" if "rmse" in limit else "below"
        assert "mean " in ran.err
        assert f" is {word} {limit.partition('=')[2]}" in ran.err


def test_fail_under_looks_at_predictions_alone(cli: Cli, folders: None) -> None:
    limit = ("--fail-under", "raw.clipped", "--fail-under")
    arguments = ("good", "truth", "--ldr", "photos", *QUICK, "--json")
    summary = json.loads(cli("evaluate", *arguments).out.splitlines()[-1])["summary"]
    means = {(a["protocol"], a["method"]): a["mean"] for a in summary if a["score"] == "pu21_psnr_rgb" and not a["region"]}
    between = (means["raw", "good"] + means["raw", "linear"]) / 2
    assert means["raw", "linear"] < between
    assert cli("evaluate", *arguments, "--fail-under", f"raw.pu21_psnr_rgb={between}").code == 0
    assert cli("evaluate", *arguments, *limit[:2]).code == 2


def test_identical_files_are_not_worse_than_any_bound(cli: Cli, folders: None) -> None:
    ran = cli("evaluate", "truth", "truth", "--protocol", "raw", *QUICK, "--fail-under", "pu21_psnr_rgb=99")
    assert ran.code == 0
    assert ["pu21_psnr_rgb (dB, higher)", "truth", "inf", "-", "-", "0", "3 inf"] in columns(ran.out)


def test_partly(cli: Cli, folders: None) -> None:
    Path("good/one.exr").unlink()
    save_light("good/three.exr", light(1, 12, 16))
    save_light("good/stranger.exr", light(1))
    ran = cli("evaluate", "good", "truth", "--protocol", "raw", *QUICK)
    assert ran.code == 3
    assert "good, one: no file of this name in good" in ran.err
    assert "three.exr: is 16 x 12 pixels, the reference 32 x 24" in ran.err
    assert "good, stranger: no file of this name in truth" in ran.err
    (row,) = [row for row in columns(ran.out) if row and row[0].startswith("pu21_psnr_rgb")]
    assert row[-2:] == ["1", "1 [1], 1 [2], 1 [3]"]
    assert "3 of 4 pairs could not be scored" in ran.out
    assert cli("evaluate", "good", "truth", "--protocol", "raw", *QUICK, "--resize").code == 3


def test_nothing_scored(cli: Cli, folders: None) -> None:
    ran = cli("evaluate", "photos", "truth", *QUICK)
    assert ran.code == 1
    assert ran.err.count("is LDR (8-bit codes)") == 3


def test_odd_pictures_are_warned_of(cli: Cli, folders: None) -> None:
    save_light("good/one.exr", np.zeros((24, 32, 3)))
    save_light("good/two.exr", light(2) - 1)
    ran = cli("evaluate", "good", "truth", "--protocol", "raw", *QUICK)
    assert ran.code == 0
    assert "warning: one: the prediction is all black" in ran.err
    assert "warning: two: the prediction has negative values" in ran.err
    assert cli("evaluate", "good", "truth", "--protocol", "raw", *QUICK, "--quiet").err == ""


def test_missing_numbers_say_why(cli: Cli, folders: None) -> None:
    save_light("good/one.exr", np.zeros((24, 32, 3)))
    ran = cli("evaluate", "good", "truth", "--align", "max", *QUICK)
    assert ran.code == 0
    (row,) = [row for row in columns(ran.out[ran.out.index("sihdr:") :]) if row and row[0].startswith("pu21_psnr_rgb")]
    assert row[-2:] == ["2", "1 [1]"]
    assert "\n1: " in ran.out
    assert "no positive sample" in ran.out


def test_white_in_the_header(cli: Cli, folders: None) -> None:
    ran = cli("evaluate", "good", "truth", "--white-nits", "header", *QUICK)
    assert ran.code == 1
    assert "truth/one.exr: its header does not say which luminance" in ran.err
    for name in ("good", "truth"):
        save_light(f"{name}/one.exr", light(0), white=300.0)
    ran = cli("evaluate", "good/one.exr", "truth/one.exr", "--white-nits", "header", *QUICK)
    assert ran.code == 0
    assert "1.0 in a file: as its header says" in ran.out


def test_options_of_protocols(cli: Cli, folders: None) -> None:
    ran = cli("evaluate", "good", "truth", "--protocol", "mu", "-p", "scale=ownmax", *ONE)
    assert "mu ownmax" in ran.out
    ran = cli("evaluate", "good", "truth", "-p", "sihdr.normalised=true", *QUICK)
    assert "medians normalised" in ran.out


def test_tonemap_task(cli: Cli, folders: None) -> None:
    save_photo("mine/one.png", light(0) * 1.2)
    save_photo("mine/two.png", light(2))
    ran = cli("evaluate", "mine", "photos", "--task", "tonemap", *ONE)
    assert ran.code == 3
    assert "psnr_codes (dB, higher)" in ran.out
    ran = cli("evaluate", "mine/one.png", "truth/one.exr", "--task", "tonemap", *ONE)
    assert ran.code == 1
    assert "smaller than 161" in ran.err
    save_photo("big.png", light(0, 170, 170))
    save_light("big.exr", light(0, 170, 170))
    ran = cli("evaluate", "big.png", "big.exr", "--task", "tonemap", *ONE)
    assert ran.code == 0
    assert "tmqi (no unit, higher)" in ran.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, ("[PRED] REF: there is no reference",)),
        (["truth"], 2, ("nothing to compare", "--pred")),
        (["a", "b", "c"], 2, ("these are 3 arguments",)),
        (["nowhere", "truth"], 1, ("nowhere: no such file or folder",)),
        (["good/one.exr", "truth"], 2, ("good/one.exr: is a file",)),
        (["truth", "--pred", "good"], 2, ("--pred: 'good' is not NAME=DIR",)),
        (["truth", "--pred", "a=good", "--pred", "a=poor"], 2, ("two methods have the name 'a'",)),
        (["good", "truth", "--protocol", "sihd"], 2, ("'sihd'", "did you mean sihdr?")),
        (["good", "truth", "--metrics", "log2rmse"], 2, ("--metrics: no metric", "did you mean log2_rmse?")),
        (["good", "truth", "--metrics", "none", "--align", "left"], 2, ("left", "percentile")),
        (["good", "truth", "--metrics", "none", "-p", "mu=3"], 2, ("-p: no option", "sihdr.normalised")),
        (["good", "truth", "--white-nits", "bright"], 2, ("--white-nits: 'bright'",)),
        (["good", "truth", "--white-nits", "-3"], 2, ("--white-nits: -3",)),
        (["good", "truth", "--ppd", "0"], 2, ("--ppd: 0",)),
        (["good", "truth", "--peak", "nan"], 2, ("--peak: nan",)),
        (["good", "truth", "--seed", "-1"], 2, ("--seed: -1",)),
        (["good", "truth", "--device", "auto"], 2, ("--device: ", "cuda:N")),
        (["good", "truth", "--fail-under", "psnr"], 2, ("--fail-under: 'psnr' is not name=value",)),
        (["good", "truth", "--fail-under", "psnr=high"], 2, ("--fail-under: 'psnr=high'",)),
        (["good", "truth", "--probability-maps"], 2, ("--probability-maps: ", "--maps")),
        (["good", "truth", "--maps", "nowhere"], 1, ("nowhere: no such folder",)),
        (["good", "truth", "--html", "nowhere/a.html"], 1, ("nowhere/a.html: can't be written: its folder",)),
        (["good", "truth", "--csv", "good"], 1, ("good: is a directory",)),
        (["good", "truth", "--csv", "a", "--out-json", "a"], 2, ("a: is the output of --out-json too",)),
        (["good", "truth", "--csv", "good/one.exr", "--overwrite"], 2, ("is one of the inputs",)),
        (["good", "truth", "--task", "tonemap", "--align", "crf"], 2, ("--align: is for HDR",)),
        (["good", "truth", "--task", "tonemap", "--ldr", "photos"], 2, ("--ldr: is for HDR",)),
        (["good", "truth", "--task", "tonemap", "--protocol", "sihdr"], 2, ("--protocol: is for HDR",)),
        (["good", "truth", "--task", "tonemap", "--metrics", "psnr_mu"], 2, ("--metrics: is for HDR",)),
        (["good", "truth", "--task", "tonemap", "--ppd", "60"], 2, ("--ppd: is for HDR",)),
        (["good", "truth", "--task", "tonemap", "--white-nits", "header"], 2, ("--white-nits: is for HDR",)),
        (["good", "truth", "--task", "tonemap", "--maps", ".", "--probability-maps"], 2, ("--probability-maps: is for HDR",)),
        (
            ["good", "truth", "--protocol", "mu", "--metrics", "log2_rmse"],
            2,
            ("--metrics: none of these", "add --protocol raw"),
        ),
        (["good", "truth", "--task", "paint"], 2, ("paint",)),
    ],
)
def test_faults(cli: Cli, folders: None, arguments: list[str], code: int, words: tuple[str, ...]) -> None:
    before = files()
    quick = [] if "--metrics" in arguments or not arguments else ["--metrics", "none"]
    ran = cli("evaluate", *arguments, *quick, *ONE)
    assert (ran.code, ran.out, len(ran.lines)) == (code, "", 1)
    assert ran.err.startswith("hdrcli: ")
    for word in words:
        assert word in ran.err
    assert files() == before


def test_fail_under_with_the_photos_alone(cli: Cli, folders: None) -> None:
    arguments = ("evaluate", "truth", "--ldr", "photos", "--protocol", "raw", *QUICK, "--fail-under")
    ran = cli(*arguments, "pu21_psnr_rgb=90")
    assert ran.code == 1
    assert "linear, raw.pu21_psnr_rgb: mean" in ran.err
    assert cli(*arguments, "pu21_psnr_rgb=1").code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_names_of_any_bytes(cli: Cli) -> None:
    for folder in (b"good", b"truth"):
        Path(os.fsdecode(folder)).mkdir()
        save_light("x.exr", light(0))
        Path("x.exr").rename(os.fsdecode(folder + b"/a\xff\n=b.exr"))
    ran = cli("evaluate", "good", "truth", *QUICK, "--csv", "a.csv", "--html", "a.html", "--out-json", "a.json")
    assert ran.code == 0
    assert "\\udcff" in Path("a.csv").read_text(encoding="utf-8")
    assert cli("evaluate", "--from-json", "a.json", *ONE).code == 0


def test_processes_say_the_same(cli: Cli, folders: None) -> None:
    arguments = ("evaluate", "truth", "--pred", "a=good", "--pred", "b=poor", "--metrics", "log2_rmse")
    alone = cli(*arguments, "--threads", "1")
    assert cli(*arguments, "--threads", "2").out == alone.out


def test_interrupted(folders: None) -> None:
    """Ctrl-C reaches all processes of a terminal at once."""
    for i in range(100):
        save_light(f"many/{i}.exr", light(i, 60, 80))
    Path("maps").mkdir()
    options = ("--metrics", "none", "--threads", "2", "--maps", "maps", "--out-json", "a.json")
    command = [sys.executable, "-m", "hdrcli", "evaluate", "many", "many", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as run:
        ends = time.monotonic() + 50
        while not any(Path("maps").glob("*.png")) and time.monotonic() < ends:  # as soon as work has begun
            time.sleep(0.02)
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=20)
    assert (run.returncode, out, err) == (130, b"", b"hdrcli: interrupted\n")
    assert not Path("a.json").exists()
    assert len(list(Path("maps").glob("*.png"))) < 200


@pytest.mark.slow
def test_list(cli: Cli) -> None:
    ran = cli("evaluate", "--list")
    assert (ran.code, ran.err) == (0, "")
    for name in ("raw", "sihdr", "expandnet", "pu21_psnr_rgb", "log2_rmse"):
        assert f"\n{name} " in ran.out
    assert "higher" in ran.out
