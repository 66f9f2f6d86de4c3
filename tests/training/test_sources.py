"""Which files are trained on."""

import numpy as np
import pytest

from hdrcli import formats
from hdrcli.color import Transfer
from hdrcli.errors import DataError
from hdrcli.image import Image
from hdrcli.training.cache import load_scenes
from hdrcli.training.sources import SceneFile, find_files, find_scenes


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_only_the_train_split_of_a_manifest_is_read(hdr_folder):
    scenes = find_scenes([hdr_folder])
    assert [f.path.stem for f in scenes.files] == ["pano", "photo"]
    assert [f.panorama for f in scenes.files] == [True, False]
    assert {f.licence for f in scenes.files} == {"CC0-1.0"}
    assert "2 of 3 files" in scenes.note
    assert "split train" in scenes.note


@pytest.mark.parametrize(("split", "names"), [("val", ["held_out"]), ("all", ["pano", "photo", "held_out"])])
def test_split_changes_it(hdr_folder, split, names):
    assert [f.path.stem for f in find_scenes([hdr_folder], split).files] == names


@pytest.mark.parametrize(("kind", "panorama"), [("equirect", True), ("photo", False), ("", None)])
def test_the_manifests_kind_is_trusted_when_there_is_one(tmp_path, kind, panorama):
    ramp = np.exp2(np.linspace(-3, 3, 8 * 16 * 3)).reshape(8, 16, 3).astype(np.float32)
    formats.write(Image(ramp, Transfer.LINEAR), tmp_path / "wide.exr")
    (tmp_path / "manifest.csv").write_text(f"file,split,kind,licence\nwide.exr,train,{kind},\n", encoding="utf-8")
    files = find_scenes([tmp_path]).files
    assert files == (SceneFile(tmp_path / "wide.exr", panorama),)
    assert load_scenes(files)[0].panorama == (kind == "equirect")  # it does not look like one


def test_a_split_that_is_not_there_is_named_with_those_that_are(hdr_folder):
    with pytest.raises(DataError, match=r"'test'.*train, val"):
        find_scenes([hdr_folder], "test")


def test_folders_without_manifest_are_read_whole_and_deep(tmp_path):
    touch(tmp_path, "b.exr", "deep/a.hdr", "c.EXR", "d.png", "e.txt", "deep/er/f.JPG", "g.tif", ".hidden.png")
    scenes = find_scenes([tmp_path])
    assert {f.path.name for f in scenes.files} == {"b.exr", "a.hdr", "c.EXR", "g.tif"}
    assert "no manifest.csv" in scenes.note
    photos = find_files([tmp_path], "ldr")
    assert {f.path.name for f in photos.files} == {"d.png", "f.JPG", "g.tif"}


def test_what_a_mixed_folder_has_of_the_other_domain_is_told(tmp_path):
    touch(tmp_path, "a.jpg", "b.png", "c.exr", "deep/d.EXR", "e.hdr", "f.tif", "g.txt")
    ignored = "(3 ignored, since they hold HDR: 2 .exr, 1 .hdr; those go to --hdr)"
    assert find_files([tmp_path], "ldr").note == f"{tmp_path}: 3 LDR files, no manifest.csv, all used {ignored}"
    ignored = "(2 ignored, since they hold LDR: 1 .jpg, 1 .png; those go to --ldr)"
    assert find_files([tmp_path], "hdr").note == f"{tmp_path}: 4 HDR files, no manifest.csv, all used {ignored}"


def test_an_empty_folder_is_no_matter_of_splits(tmp_path):
    (tmp_path / "pictures").mkdir()
    touch(tmp_path, "pictures/notes.md", "list.txt")
    with pytest.raises(DataError, match=r"pictures: holds no pictures, so there are no LDR files \(check --ldr\)"):
        find_files([tmp_path / "pictures"], "ldr")
    with pytest.raises(DataError, match=r"list\.txt: lists no files, so there are no HDR files \(check --hdr\)"):
        find_files([tmp_path / "list.txt"], "hdr")


def test_lists_hold_paths_beside_them(tmp_path):
    (tmp_path / "list.txt").write_text("# mine\n\na.exr\nsub/b.hdr\n", encoding="utf-8")
    files = find_scenes([tmp_path / "list.txt"]).files
    assert [f.path for f in files] == [tmp_path / "a.exr", tmp_path / "sub" / "b.hdr"]


def test_sources_add_up(hdr_folder):
    assert len(find_scenes([hdr_folder, hdr_folder / "held_out.exr"]).files) == 3


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.*--ldr"):
        find_files([tmp_path / "nowhere"], "ldr")
    with pytest.raises(DataError, match="no HDR files"):
        find_scenes([tmp_path])
    with pytest.raises(DataError, match="no LDR files"):
        find_files([tmp_path], "ldr")


@pytest.mark.parametrize(
    ("domain", "names", "words"),
    [
        ("hdr", ["a.jpg", "b.jpg", "c.png"], r"holds no HDR files but LDR ones: 2 \.jpg, 1 \.png \(LDR folders go to --ldr\)"),
        ("ldr", ["a.exr"], r"holds no LDR files but HDR ones: 1 \.exr \(HDR folders go to --hdr\)"),
    ],
)
def test_swapped_folders_are_recognised(tmp_path, domain, names, words):
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=words):
        find_files([tmp_path], domain)


def test_a_manifest_without_the_columns_is_an_error(tmp_path):
    (tmp_path / "manifest.csv").write_text("name,kind\na,b\n", encoding="utf-8")
    with pytest.raises(DataError, match="columns"):
        find_scenes([tmp_path])
