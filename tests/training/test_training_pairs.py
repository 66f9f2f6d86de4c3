"""Which file goes with which."""

import pytest

from hdrcli.errors import DataError
from hdrcli.training.pairs import find_pairs


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(found):
    return {(p.ldr.path.name, p.hdr.path.name) for p in found.files}


def test_partners_have_one_name_whatever_their_extensions(tmp_path):
    touch(tmp_path / "ldr", "a.jpg", "b.PNG", "alone.jpg")
    touch(tmp_path / "hdr", "a.exr", "b.hdr", "other.exr")
    found = find_pairs(tmp_path / "ldr", tmp_path / "hdr")
    assert names(found) == {("a.jpg", "a.exr"), ("b.PNG", "b.hdr")}
    assert "2 of" in found.note
    assert [line.rpartition("/")[2] for line in found.left_out] == [
        "alone.jpg: has no HDR partner",
        "other.exr: has no LDR partner",
    ]


def test_names_in_subfolders_are_told_apart(tmp_path):
    touch(tmp_path / "ldr", "x/a.jpg", "y/a.jpg")
    touch(tmp_path / "hdr", "x/a.exr", "y/a.exr")
    found = find_pairs(tmp_path / "ldr", tmp_path / "hdr")
    assert {(p.ldr.path.parent.name, p.hdr.path.parent.name) for p in found.files} == {("x", "x"), ("y", "y")}


def test_bare_names_count_where_no_folders_agree(tmp_path):
    touch(tmp_path / "ldr", "day/a.jpg", "night/b.jpg")
    touch(tmp_path / "hdr", "a.exr", "b.exr")
    assert names(find_pairs(tmp_path / "ldr", tmp_path / "hdr")) == {("a.jpg", "a.exr"), ("b.jpg", "b.exr")}


def test_several_files_of_one_name_are_no_pair(tmp_path):
    touch(tmp_path / "ldr", "a.jpg", "a.png", "b.jpg")
    touch(tmp_path / "hdr", "a.exr", "b.exr")
    found = find_pairs(tmp_path / "ldr", tmp_path / "hdr")
    assert names(found) == {("b.jpg", "b.exr")}
    assert found.left_out == ("2 files have the name a: a.jpg, a.png",)


def test_a_manifest_names_the_scene_that_several_photos_show(tmp_path):
    touch(tmp_path / "ldr", "s_1.png", "s_2.png", "lost.png")
    touch(tmp_path / "hdr", "s.exr")
    rows = "file,split,hdr,kind,licence\ns_1.png,train,s.exr,,CC0-1.0\ns_2.png,train,s.exr,,\nlost.png,train,gone.exr,,\n"
    (tmp_path / "ldr" / "manifest.csv").write_text(rows, encoding="utf-8")
    found = find_pairs(tmp_path / "ldr", tmp_path / "hdr")
    assert names(found) == {("s_1.png", "s.exr"), ("s_2.png", "s.exr")}
    assert found.files[0].ldr.licence == "CC0-1.0"
    assert len(found.left_out) == 1
    assert "names gone.exr" in found.left_out[0]


def test_one_folder_may_hold_both(tmp_path):
    touch(tmp_path, "a.jpg", "a.exr", "b.tif")
    assert names(find_pairs(tmp_path, tmp_path)) == {("a.jpg", "a.exr")}


def test_lists_hold_pairs_too(tmp_path):
    touch(tmp_path, "in/a.jpg", "out/a.exr")
    (tmp_path / "l.txt").write_text("in/a.jpg\n", encoding="utf-8")
    (tmp_path / "h.txt").write_text("out/a.exr\n", encoding="utf-8")
    assert names(find_pairs(tmp_path / "l.txt", tmp_path / "h.txt")) == {("a.jpg", "a.exr")}


@pytest.mark.parametrize(
    ("ldr", "hdr", "words"),
    [
        (["a.jpg"], ["b.exr"], r"no LDR file has the name of an HDR file; there are a and b \(partners have one name"),
        (["a.exr"], ["a.jpg"], r"holds no LDR files but HDR ones: 1 \.exr \(--pairs takes the LDR folder first"),
        ([], ["a.exr"], "no LDR files"),
        (["a.jpg"], [], "no HDR files"),
    ],
)
def test_folders_without_pairs_are_errors(tmp_path, ldr, hdr, words):
    for name, files in (("ldr", ldr), ("hdr", hdr)):
        (tmp_path / name).mkdir()
        touch(tmp_path / name, *files)
    with pytest.raises(DataError, match=words):
        find_pairs(tmp_path / "ldr", tmp_path / "hdr")
