"""Copies of pairs that lie on each other: nothing is changed in place, and nothing that fits is changed at all."""

import cv2
import numpy as np
import pytest
from paired_data import SCALE, photo_of, save_light, save_photo, scene, write_pair

from hdrcli import formats
from hdrcli.color import Primaries, Transfer
from hdrcli.errors import OutputExists, UsageError
from hdrcli.training.agreement import ORIENTATIONS
from hdrcli.training.cache import load_pairs
from hdrcli.training.pairs import PairFile, find_pairs
from hdrcli.training.preparation.alignment import LEAST, align, names
from hdrcli.training.sources import Encoding, SceneFile


def write(root, light, turned, **options):
    ldr = save_photo(root / "ldr" / "one.png", photo_of(light))
    return PairFile(SceneFile(ldr), SceneFile(save_light(root / "hdr" / "one.exr", SCALE * turned), **options))


def detailed(down=0, right=0, height=120, width=160):
    """A scene with detail, seen from so many quarters of a pixel further down and right."""
    rng = np.random.default_rng(0)
    grain = cv2.GaussianBlur(np.exp2(2 * rng.normal(size=(4 * height + 80, 4 * width + 80))).astype(np.float32), (0, 0), 4)
    large = grain[..., None] * cv2.resize(scene(0, height, width), grain.shape[::-1])
    part = large[40 + down : 40 + down + 4 * height, 40 + right : 40 + right + 4 * width]
    return cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=cv2.INTER_AREA)


def read_both(out, name="one"):
    ldr, hdr = (next((out / kind).glob(f"{name}.*")) for kind in ("ldr", "hdr"))
    return formats.read(ldr), formats.read(hdr)


def test_what_fits_is_copied_byte_for_byte(tmp_path):
    ldr, hdr = write_pair(tmp_path, "one", 0)
    found = align(PairFile(SceneFile(ldr), SceneFile(hdr)), "sub/one", tmp_path / "out")
    assert (found.done, found.changed, found.size) == ("fits as it is", False, (96, 72))
    assert (tmp_path / "out" / "ldr" / "sub" / "one.png").read_bytes() == ldr.read_bytes()
    assert (tmp_path / "out" / "hdr" / "sub" / "one.exr").read_bytes() == hdr.read_bytes()


@pytest.mark.parametrize("way", ORIENTATIONS[1:], ids=lambda way: way.name)
def test_turned_partners_are_turned_back_without_loss(tmp_path, way):
    light = scene(0)
    turned = next(w.of(light) for w in ORIENTATIONS if np.array_equal(way.of(w.of(light)), light))
    pair = write(tmp_path, light, turned)
    before = pair.hdr.path.read_bytes()
    found = align(pair, "one", tmp_path / "out")
    assert found.orientation == way
    photo, hdr = read_both(tmp_path / "out")
    np.testing.assert_array_equal(photo.pixels, photo_of(light))
    np.testing.assert_array_equal(hdr.pixels, SCALE * light)
    assert pair.hdr.path.read_bytes() == before
    assert len(load_pairs(find_pairs(tmp_path / "out" / "ldr", tmp_path / "out" / "hdr").files)) == 1


@pytest.mark.parametrize("quarters", [(6, 0), (-9, 14)])
def test_moved_partners_are_moved_back_and_both_cropped(tmp_path, quarters):
    light = detailed()
    found = align(write(tmp_path, light, detailed(*quarters)), "one", tmp_path / "out")
    assert (found.down, found.right) == pytest.approx([q / 4 for q in quarters], abs=0.15)
    photo, hdr = read_both(tmp_path / "out")
    assert photo.pixels.shape == hdr.pixels.shape == (found.size[1], found.size[0], 3)
    top, left = (int(np.ceil(max(d, 0))) for d in (found.down, found.right))
    where = np.s_[top : top + found.size[1], left : left + found.size[0]]
    np.testing.assert_array_equal(photo.pixels, photo_of(light)[where])
    error = np.abs(np.log2(hdr.pixels / (SCALE * light[where])))
    before = np.abs(np.log2(detailed(*quarters) / light))
    assert np.median(error) < 0.4 * np.median(before)


def test_a_tiny_offset_is_left_alone(tmp_path):
    found = align(write(tmp_path, scene(0), scene(0)), "one", None)
    assert not found.moved
    assert LEAST == 0.1


@pytest.mark.parametrize("larger", ["photo", "hdr"])
def test_the_larger_is_averaged_down(tmp_path, larger):
    light = scene(0, 144, 192)
    small = cv2.resize(light, (96, 72), interpolation=cv2.INTER_AREA)
    pair = write(tmp_path, light, small) if larger == "photo" else write(tmp_path, small, light)
    found = align(pair, "one", tmp_path / "out")
    assert (found.resized, found.size, found.done) == (True, (96, 72), "brought to one size")
    photo, hdr = read_both(tmp_path / "out")
    np.testing.assert_allclose(hdr.pixels, SCALE * small, rtol=1e-5)
    if larger == "hdr":
        np.testing.assert_array_equal(photo.pixels, photo_of(small))


def test_nothing_is_written_without_a_folder(tmp_path):
    found = align(write(tmp_path, scene(0), scene(0)[::-1]), "one", None)
    assert found.done == "HDR upside down"
    assert {p.name for p in tmp_path.iterdir()} == {"ldr", "hdr"}


def test_what_shows_something_else_is_not_written(tmp_path):
    found = align(write(tmp_path, scene(0), scene(9)), "one", tmp_path / "out")
    assert "show different things" in found.fault
    assert not (tmp_path / "out").exists()


def test_faults_of_files_come_back(tmp_path):
    pair = write(tmp_path, scene(0), scene(0))
    assert "is display-encoded, not HDR" in align(PairFile(pair.ldr, pair.ldr), "one", None).fault
    assert "is HDR, not a photo" in align(PairFile(pair.hdr, pair.hdr), "one", None).fault
    pair.hdr.path.write_bytes(b"")
    assert "is empty" in align(pair, "one", None).fault


def test_existing_files_stay(tmp_path):
    pair = write(tmp_path, scene(0), scene(0))
    align(pair, "one", tmp_path / "out")
    with pytest.raises(OutputExists):
        align(pair, "one", tmp_path / "out")
    align(pair, "one", tmp_path / "out", overwrite=True)


def test_what_only_the_layout_says_is_said_by_the_copies(tmp_path):
    """A PNG that holds light by a power law becomes an EXR that says what it holds."""
    pair = write(tmp_path, scene(0), scene(0))
    image = formats.read(pair.ldr.path)
    copied = align(
        PairFile(pair.ldr, SceneFile(pair.ldr.path, encoding=Encoding(2.24, Primaries.BT2020))), "one", tmp_path / "out"
    )
    assert not copied.changed
    _, hdr = read_both(tmp_path / "out")
    assert (hdr.transfer, hdr.primaries) == (Transfer.LINEAR, Primaries.BT2020)
    np.testing.assert_allclose(hdr.pixels, (image.pixels / 255.0) ** 2.24, rtol=1e-5)


def test_names_are_those_below_the_folder(tmp_path):
    pairs = [PairFile(SceneFile(tmp_path / name), SceneFile(tmp_path / "x.exr")) for name in ("a/1.jpg", "b/1.jpg")]
    assert names(pairs, tmp_path) == ["a/1", "b/1"]
    with pytest.raises(UsageError, match="two photos have the name 1"):
        names(pairs, tmp_path / "elsewhere")
