"""hdrcli train --pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Cli
from paired_data import write_pair, write_pairs

SMALL = ("-p", "network.width=4", "-p", "working_size=32", "-p", "view_size=32", "-p", "batch_size=2", "--workers", "0")


@pytest.fixture
def pairs() -> tuple[Path, Path]:
    return write_pairs(Path("data"), 2)


def test_pairs_train_with_scenes_beside_them(cli: Cli, pairs: tuple[Path, Path]) -> None:
    write_pair(Path("data"), "turned", 7, turn=lambda light: light[::-1])
    (pairs[0] / "alone.png").write_bytes(b"")
    ran = cli("train", "--pairs", *pairs, "--hdr", pairs[1] / "p0.exr", "--out", "run", "--max-steps", "2", *SMALL)
    assert (ran.code, ran.out) == (0, "")
    text = "\n".join(ran.lines)
    assert "pairs: 3 of data/ldr (4 LDR files) and data/hdr (3 HDR files)" in text
    assert "data/ldr/alone.png: has no HDR partner" in text
    assert "fit if the HDR is upside down (hdrcli data align" in text
    assert "recipe: paired, 2 pairs, 1 scenes, until 2 steps" in text
    record = json.loads(Path("run/run.json").read_text(encoding="utf-8"))
    assert record["sources"] == {"hdr": ["data/hdr/p0.exr"], "pairs": ["data/ldr", "data/hdr"]}
    assert record["data"] == {"hdr": ["p0", "p1", "p0"], "pairs": [["p0", "p0"], ["p1", "p1"]]}


def test_the_plan_counts_them(cli: Cli, pairs: tuple[Path, Path]) -> None:
    ran = cli("train", "--pairs", *pairs, "--out", "run", "--max-steps", "9", "--dry-run", *SMALL)
    assert ran.code == 0
    assert "HDR: 2 images, 2 of them pairs (2 in memory" in ran.out
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--ldr", "data/ldr"], 2, "--ldr: photos of any scenes don't go with pairs"),
        (
            ["--recipe", "llm-hdr-small"],
            2,
            "--pairs: recipe llm-hdr-small does not learn from pairs (give --ldr and --hdr instead",
        ),
        (["--pairs-layout", "hdr-real", "data"], 2, "--pairs and --pairs-layout exclude each other"),
    ],
)
def test_what_does_not_go_with_pairs(cli: Cli, pairs: tuple[Path, Path], arguments: list[str], code: int, words: str) -> None:
    ran = cli("train", "--pairs", *pairs, "--out", "run", "--max-steps", "1", *arguments)
    assert (ran.code, len(ran.lines)) == (code, 1)
    assert words in ran.err


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (
            ["--pairs", "data/hdr", "data/ldr"],
            1,
            "data/hdr: holds no LDR files but HDR ones: 2 .exr (--pairs takes the LDR folder first",
        ),
        (["--pairs", "data/ldr", "nowhere"], 1, "nowhere: no such file or folder"),
        (["--pairs", "empty", "data/hdr"], 1, "no LDR files"),
        (["--pairs-layout", "gta-hdr", "data"], 2, "GTA-HDR (Barua et al. 2025) has no pairs to read"),
        (["--pairs-layout", "mine", "data"], 2, "no layout 'mine' (there are: hdr-real"),
        (["--pairs-layout", "hdr-real", "data"], 1, "data: no pairs: 0 LDR and 0 HDR files are named as in hdr-real"),
        ([], 2, "recipe paired needs HDR pictures (give --hdr with a folder or --pairs with two"),
    ],
)
def test_faults(cli: Cli, pairs: tuple[Path, Path], given: list[str], code: int, words: str) -> None:
    Path("empty").mkdir()
    ran = cli("train", *given, "--out", "run", "--max-steps", "1")
    assert (ran.code, len(ran.lines)) == (code, 1)
    assert words in ran.err
