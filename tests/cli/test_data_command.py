"""hdrcli data: check, align, synth, layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, files
from paired_data import photo_of, save_light, save_photo, scene, write_pair, write_pairs


@pytest.fixture
def pairs() -> tuple[Path, Path]:
    return write_pairs(Path("data"), 2)


def spoil() -> None:
    """All that can be wrong with pairs, beside two that are right."""
    root = Path("data")
    write_pair(root, "turned", 5, turn=lambda light: light[:, ::-1])
    write_pair(root, "small", 6, turn=lambda light: light[::2, ::2])
    write_pair(root, "other", 7, turn=lambda light: scene(20))
    write_pair(root, "broken", 8)[1].write_bytes(b"nothing")
    save_photo(root / "ldr" / "alone.png", photo_of(scene(9)))
    save_photo(root / "ldr" / "twin.png", photo_of(scene(0)))
    save_light(root / "hdr" / "twin.exr", scene(0) * 7.5)


def test_nothing_wrong(cli: Cli, pairs: tuple[Path, Path]) -> None:
    ran = cli("data", "check", "--pairs", *pairs)
    assert ran.code == 0
    assert ran.lines == ["pairs: 2 of data/ldr (2 LDR files) and data/hdr (2 HDR files)", "nothing wrong"]
    assert "LDR    bit depth               2 of 8 bit" in ran.out
    assert "pairs  likeness (SSIM)         0.9" in ran.out


def test_everything_wrong_is_listed(cli: Cli, pairs: tuple[Path, Path]) -> None:
    spoil()
    before = files()
    ran = cli("data", "check", "--pairs", *pairs)
    assert ran.code == 3
    for words in (
        "data/hdr/broken.exr: ",
        "turned.exr: fit if the HDR is mirrored (hdrcli data align writes copies that fit)",
        "small.exr: have 96 x 72 and 48 x 36 pixels (hdrcli data align",
        "other.exr: show different things (likeness",
        "alone.png: has no HDR partner",
        "data/ldr/p0.png: is the same file as data/ldr/twin.png",
    ):
        assert words in ran.out
    assert ran.lines[-1] == "7 things to look at"
    assert files() == before


def test_json_says_the_same(cli: Cli, pairs: tuple[Path, Path]) -> None:
    spoil()
    ran = cli("data", "check", "--pairs", *pairs, "--json")
    *records, summary = (json.loads(line) for line in ran.out.splitlines())
    assert (ran.code, summary["pairs"], summary["without_partner"], len(summary["faults"])) == (3, 7, 1, 7)
    by_name = {Path(r["ldr"]["path"]).stem: r for r in records}
    assert by_name["p1"]["faults"] == []
    assert by_name["p1"]["likeness"] > 0.9
    assert by_name["broken"]["likeness"] is None


def test_files_alone(cli: Cli, pairs: tuple[Path, Path]) -> None:
    save_light(Path("data/hdr/dull.exr"), np.minimum(scene(3), 0.3))
    ran = cli("data", "check", "--hdr", pairs[1], "--ldr", pairs[0])
    assert ran.code == 3
    assert "data/hdr/dull.exr: holds no light above white" in ran.out
    assert "range in stops" in ran.out
    assert cli("data", "check", "--hdr", "data/hdr/dull.exr").code == 1


def test_align_makes_pairs_that_fit(cli: Cli, pairs: tuple[Path, Path]) -> None:
    spoil()
    before = {name: Path(name).read_bytes() for name in files()}
    dry = cli("data", "align", "--pairs", *pairs, "--dry-run")
    assert files() == set(before)
    assert "of 7 pairs 2 would be changed, 2 would be left out" in dry.err
    ran = cli("data", "align", "--pairs", *pairs, "--out", "fixed")
    assert (dry.code, ran.code) == (3, 3)
    assert ran.out == dry.out
    assert "of 7 pairs 2 were changed, 2 were left out -> fixed; train on them: --pairs fixed/ldr fixed/hdr" in ran.err
    assert {name: Path(name).read_bytes() for name in before} == before
    assert sorted(p.stem for p in Path("fixed/hdr").iterdir()) == ["p0", "p1", "small", "turned", "twin"]
    again = cli("data", "check", "--pairs", "fixed/ldr", "fixed/hdr")
    assert "hdrcli data align" not in again.out
    over = cli("data", "align", "--pairs", *pairs, "--out", "fixed")
    assert over.code == 1
    assert "exists already" in over.err


def test_synth_makes_pairs(cli: Cli, pairs: tuple[Path, Path]) -> None:
    dry = cli("data", "synth", "--hdr", pairs[1], "--out", "photos", "--count", "2", "--dry-run")
    assert dry.code == 0
    assert "would make 4 photos of 2 scenes in photos" in dry.err
    assert "p0_1, p0_2" in dry.out
    assert not Path("photos").exists()
    ran = cli("data", "synth", "--hdr", pairs[1], "--out", "photos", "--count", "2", "--seed", "4", "-p", "p_no_jpeg=1")
    assert ran.code == 0
    assert ran.lines[-1] == "4 photos of 2 scenes -> photos; train on them: --pairs photos data/hdr"
    checked = cli("data", "check", "--pairs", "photos", pairs[1], "--json")
    assert json.loads(checked.out.splitlines()[-1])["pairs"] == 4
    four = cli("data", "synth", "--hdr", pairs[1], "--out", "eq11", "--eq11", "--json")
    assert four.code == 0
    assert [json.loads(line)["exposure"] for line in four.out.splitlines()][:4] == [2**0.5, 2, 4, 16]


def test_synth_among_broken_scenes(cli: Cli, pairs: tuple[Path, Path]) -> None:
    Path("data/hdr/p0.exr").write_bytes(b"")
    ran = cli("data", "synth", "--hdr", pairs[1], "--out", "photos")
    assert ran.code == 3
    assert "p0.exr" in ran.err
    assert ran.lines[-1].startswith("1 photos of 1 scenes")


def test_layouts_are_listed(cli: Cli) -> None:
    ran = cli("data", "layouts")
    assert "hdrtv1k       HDRTV1K (Chen et al. 2021)" in ran.out
    assert "layout from its documentation, not tried" in ran.out
    assert len([json.loads(line) for line in cli("data", "layouts", "--json").out.splitlines()]) == 9


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, ""),
        (["check"], 2, "there is nothing to check"),
        (["check", "--pairs", "data/hdr", "data/ldr"], 1, "--pairs takes the LDR folder first"),
        (["check", "--pairs", "empty", "empty"], 1, "no LDR files"),
        (["check", "--pairs", "data/ldr", "strange"], 1, "no LDR file has the name of an HDR file"),
        (["check", "--hdr", "empty"], 1, "no HDR files"),
        (["check", "--pairs-layout", "drtmo", "data"], 2, "has no pairs to read"),
        (["align", "--out", "x"], 2, "there is nothing to align"),
        (["align", "--pairs", "data/ldr", "data/hdr"], 2, "--out: copies need a folder"),
        (["align", "--pairs", "data/ldr", "data/hdr", "--out", "data/hdr/new"], 2, "lies in data/hdr, among the originals"),
        (["synth", "--hdr", "data/ldr", "--out", "x"], 1, "holds no HDR files but LDR ones"),
        (["synth", "--hdr", "data/hdr", "--out", "x", "--count", "0"], 2, "--count: 0 is below 1"),
        (["synth", "--hdr", "data/hdr", "--out", "x", "--seed", "-1"], 2, "--seed: -1 is below 0"),
        (["synth", "--hdr", "data/hdr", "--out", "x", "--eq11", "--count", "2"], 2, "--eq11: Eq. 11 has four exposures"),
        (["synth", "--hdr", "data/hdr", "--out", "x", "-p", "p_jpeg=1"], 2, "p_jpeg"),
        (["synth", "--hdr", "data/hdr", "--out", "data/hdr/p0.exr"], 1, "can't be made"),
    ],
)
def test_faults(cli: Cli, pairs: tuple[Path, Path], arguments: list[str], code: int, words: str) -> None:
    Path("empty").mkdir()
    save_light(Path("strange/x.exr"), scene(0))
    ran = cli("data", *arguments)
    assert ran.code == code
    assert words in ran.err
    assert not Path("x").exists()


def test_checking_needs_no_torch(pairs: tuple[Path, Path]) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from hdrcli.cli.app import main; "
        "main(['data', 'check', '--pairs', 'data/ldr', 'data/hdr']); print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.splitlines()[-1] == "False"
