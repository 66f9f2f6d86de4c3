"""Photos of HDR scenes: the camera's, or Eq. 11's; and the manifest that makes pairs of them."""

import csv

import numpy as np
import pytest
from paired_data import save_light, scene

from hdrcli import formats
from hdrcli.color import luminance
from hdrcli.errors import OutputExists, UsageError
from hdrcli.training.cache import load_pairs
from hdrcli.training.pairs import find_pairs
from hdrcli.training.preparation.synthesis import Plan, manifest, names, photograph
from hdrcli.training.sources import SceneFile


@pytest.fixture
def files(tmp_path):
    for number in range(2):
        save_light(tmp_path / "hdr" / f"s{number}.exr", 3 * scene(number))
    return [SceneFile(tmp_path / "hdr" / f"s{number}.exr", licence="CC0-1.0") for number in range(2)]


def made(files, tmp_path, plan, out="out", lines=None):
    root, target = tmp_path / "hdr", tmp_path / out
    target.mkdir(exist_ok=True)
    report = [].append if lines is None else lines.append
    return [
        shot
        for file, photos in zip(files, names(files, root, plan), strict=True)
        for shot in photograph(file, photos, root, target, plan, report)
    ]


def test_photos_and_scenes_are_pairs(tmp_path, files):
    shots = made(files, tmp_path, Plan(2))
    assert [s.path.name for s in shots] == ["s0_1.png", "s0_2.png", "s1_1.png", "s1_2.png"]
    manifest(shots, tmp_path / "out")
    found = find_pairs(tmp_path / "out", tmp_path / "hdr")
    partners = {p.ldr.path.stem: p.hdr.path.stem for p in found.files}
    assert partners == {"s0_1": "s0", "s0_2": "s0", "s1_1": "s1", "s1_2": "s1"}
    pairs = load_pairs(found.files)
    assert len(pairs) == 4
    assert {p.licence for p in pairs} == {"CC0-1.0; not stated"}
    (row, *_) = csv.DictReader((tmp_path / "out" / "manifest.csv").read_text(encoding="utf-8").splitlines())
    assert (row["hdr"], row["kind"], row["split"]) == ("s0.exr", "photo", "train")
    assert float(row["exposure"]) == pytest.approx(shots[0].exposure, rel=1e-5)


def test_one_photo_has_the_name_of_its_scene(tmp_path, files):
    assert [s.path.name for s in made(files, tmp_path, Plan())] == ["s0.png", "s1.png"]


def test_the_seed_decides_and_each_photo_stands_alone(tmp_path, files):
    first = [s.path.read_bytes() for s in made(files, tmp_path, Plan(2, seed=5), "a")]
    alone = [s.path.read_bytes() for s in made(files[1:], tmp_path, Plan(2, seed=5), "b")]
    other = [s.path.read_bytes() for s in made(files, tmp_path, Plan(2, seed=6), "c")]
    assert first[2:] == alone
    assert not set(first) & set(other)
    assert len(set(first)) == 4


def test_equation_11(tmp_path, files):
    """Z = clip((H t)^(1/2.2)), t of 2^0.5, 2, 4, 16, the scene's median luminance at 0.18."""
    shots = made(files[:1], tmp_path, Plan(eq11=True))
    light = scene(0) * 3
    light = light * (0.18 / np.median(luminance(light)))
    for shot, time in zip(shots, (2**0.5, 2, 4, 16), strict=True):
        expected = np.rint(255 * np.minimum(light * time, 1) ** (1 / 2.2))
        assert np.abs(formats.read(shot.path).pixels - expected).max() <= 1
        assert (shot.exposure, shot.jpeg, shot.response) == (time, None, "gamma(2.20)")


def test_scenes_that_can_not_be_used_are_reported(tmp_path, files):
    files[0].path.write_bytes(b"nothing")
    lines = []
    assert [s.path.name for s in made(files, tmp_path, Plan(), lines=lines)] == ["s1.png"]
    assert len(lines) == 1
    assert "s0.exr" in lines[0]


def test_existing_photos_stay(tmp_path, files):
    made(files, tmp_path, Plan())
    with pytest.raises(OutputExists):
        made(files, tmp_path, Plan())


def test_panoramas_stay_panoramas(tmp_path):
    save_light(tmp_path / "hdr" / "p.exr", scene(0, 48, 96))
    file = SceneFile(tmp_path / "hdr" / "p.exr", panorama=True)
    shots = made([file], tmp_path, Plan())
    assert shots[0].kind == "equirect"
    manifest(shots, tmp_path / "out")
    assert load_pairs(find_pairs(tmp_path / "out", tmp_path / "hdr").files)[0].panorama


def test_bad_plans(tmp_path):
    with pytest.raises(UsageError, match="0 is below 1"):
        Plan(0)
    clash = [SceneFile(tmp_path / "a.exr"), SceneFile(tmp_path / "a.hdr")]
    with pytest.raises(UsageError, match="two photos would have the name a"):
        names(clash, tmp_path, Plan())
