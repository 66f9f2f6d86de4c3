from __future__ import annotations

from pathlib import Path

import pytest
from scenes import light, photo, save_codes, save_light, write_folders

from hdrcli.errors import MissingInput, UnreadableInput, UsageError
from hdrcli.evaluation.pairs import LINEAR, Matching, Source, Unit, match


def named(matching: Matching) -> list[tuple[str, str]]:
    return [(unit.method, unit.image) for unit in matching.units]


def test_two_files_need_no_common_name(tmp_path: Path) -> None:
    a, b = save_light(tmp_path / "a.exr", light(0)), save_light(tmp_path / "b.hdr", light(1))
    assert match([Source("a", a)], b).units == (Unit("a", "b", b, a, None),)


def test_folders_by_stem_in_order_of_names(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    found = match([Source("x", root / "good"), Source("y", root / "poor")], root / "truth", root / "photos")
    assert named(found) == [(m, image) for image in ("one", "three", "two") for m in ("x", "y", LINEAR)]
    assert found.unmatched == ()
    assert [m.baseline for m in found.methods] == [False, False, True]
    assert {unit.ldr for unit in found.units if unit.image == "one"} == {root / "photos/one.png"}
    assert [unit.prediction for unit in found.units if unit.method == LINEAR] == [None] * 3


def test_other_extensions_and_folders_below(tmp_path: Path) -> None:
    truth = save_light(tmp_path / "truth/night/a.exr", light(0))
    mine = save_light(tmp_path / "mine/night/a.pfm", light(0))
    save_light(tmp_path / "mine/a.pfm", light(0))
    found = match([Source("m", tmp_path / "mine")], tmp_path / "truth")
    assert found.units == (Unit("m", "night/a", truth, mine, None),)
    assert [(u.image, u.why) for u in found.unmatched] == [("a", f"no file of this name in {tmp_path / 'truth'}")]


def test_unpaired_names_are_told_for_each_method(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    (root / "good/two.exr").unlink()
    (root / "photos/one.png").unlink()
    (root / "poor/three.exr").rename(root / "poor/four.exr")
    found = match([Source("x", root / "good"), Source("y", root / "poor")], root / "truth", root / "photos")
    assert {(u.method, u.image) for u in found.unmatched} == {("x", "two"), ("y", "three"), ("y", "four"), (LINEAR, "one")}
    assert ("x", "one") in named(found)
    assert next(u for u in found.units if u.image == "one").ldr is None


def test_photos_without_a_reference_are_told(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    (root / "truth/two.exr").unlink()
    found = match([Source("x", root / "good")], root / "truth", root / "photos")
    assert {(u.method, u.image) for u in found.unmatched} == {("x", "two"), (LINEAR, "two")}


def test_other_files_do_not_count(tmp_path: Path) -> None:
    root = write_folders(tmp_path, ["one"])
    (root / "good/readme.txt").write_text("x")
    (root / "good/.one.exr").write_bytes(b"x")
    (root / "good/.cache").mkdir()
    save_light(root / "good/.cache/two.exr", light(0))
    found = match([Source("x", root / "good")], root / "truth")
    assert (named(found), found.unmatched) == ([("x", "one")], ())


def test_previews_beside_hdr_files_do_not_count(tmp_path: Path) -> None:
    root = write_folders(tmp_path, ["one"])
    save_codes(root / "good/one.png", photo(light(0)))
    (unit,) = match([Source("x", root / "good")], root / "truth").units
    assert unit.prediction == root / "good/one.exr"
    (unit,) = match([Source("x", root / "good")], root / "truth", kind="ldr").units
    assert unit.prediction == root / "good/one.png"


def test_several_files_of_one_name(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    save_light(root / "good/two.hdr", light(0))
    found = match([Source("x", root / "good")], root / "truth")
    assert [(u.image, u.why) for u in found.unmatched] == [
        ("two", f"2 files have this name: {root / 'good/two.exr'}, {root / 'good/two.hdr'}")
    ]


@pytest.mark.parametrize("names", [["a", "a"], [LINEAR], [""], ["a/b"], [" a"], ["a\n"]])
def test_names_of_methods(tmp_path: Path, names: list[str]) -> None:
    root = write_folders(tmp_path, ["one"])
    with pytest.raises(UsageError, match="name"):
        match([Source(name, root / "good") for name in names], root / "truth", root / "photos")


def test_faults(tmp_path: Path) -> None:
    root = write_folders(tmp_path, ["one"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(MissingInput, match="no such file or folder"):
        match([Source("x", root / "nowhere")], root / "truth")
    with pytest.raises(UsageError, match="is a file"):
        match([Source("x", root / "good/one.exr")], root / "truth")
    with pytest.raises(UsageError, match="is a folder"):
        match([Source("x", root / "good")], root / "truth/one.exr")
    with pytest.raises(UnreadableInput, match="no picture is in this folder"):
        match([Source("x", empty)], root / "truth")
    with pytest.raises(UsageError, match="nothing to compare"):
        match([], root / "truth")
    (root / "good/one.exr").rename(root / "good/other.exr")
    with pytest.raises(MissingInput, match=r"no file has the name of one in .*here other, there one"):
        match([Source("x", root / "good")], root / "truth")
